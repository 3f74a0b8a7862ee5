"""Shards of an archive: GeoParquet files of embeddings; the same rows give the same bytes (and version of pyarrow)."""

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.search.items import Box, Place, Window

OURS = b"iebaker"
BOX = pa.struct([(edge, pa.float64()) for edge in ("xmin", "ymin", "xmax", "ymax")])
COLUMNS = [
    ("id", pa.string()),  # href, with #column,row,width,height for a window
    ("href", pa.string()),  # <name of the root>/<path below it>
    ("sha256", pa.string()),  # of the file's content
    ("window", pa.list_(pa.int32(), 4)),  # column, row, width, height in the scene; null: the whole image
    ("geometry", pa.binary()),  # WKB footprint in EPSG:4326 (longitude, latitude)
    ("bbox", BOX),  # in EPSG:4326; xmin > xmax crosses the antimeridian
    ("datetime", pa.timestamp("us", tz="UTC")),
    ("sensor", pa.string()),
    ("gsd", pa.float64()),  # metres
]
METADATA = tuple(name for name, _ in COLUMNS)
ABOUT = ("id", "href", "window", "bbox", "datetime", "sensor", "gsd")  # what a result says of its row


@dataclass(frozen=True)
class Row:
    """What is known of one item beside its vectors."""

    href: str
    sha256: str
    window: Window | None
    place: Place


def write(path: Path, rows: Sequence[Row], vectors: np.ndarray, reverse: np.ndarray, note: dict[str, Any]) -> None:
    """Write one shard.

    Args:
        vectors: (N, d) float16, normalised.
        reverse: (N, m) float16, similarities to the caption bank (`reverse.profile`); m = 0 without one.
        note: what made it, as plain data; `read_note` gives it back.
    """
    values = {
        "id": [row.href + ("#" + ",".join(map(str, row.window)) if row.window else "") for row in rows],
        "href": [row.href for row in rows],
        "sha256": [row.sha256 for row in rows],
        "window": [row.window for row in rows],
        "geometry": [footprint(row.place.box) if row.place.box else None for row in rows],
        "bbox": [dict(zip(BOX.names, row.place.box, strict=True)) if row.place.box else None for row in rows],
        "datetime": [row.place.datetime for row in rows],
        "sensor": [row.place.sensor for row in rows],
        "gsd": [row.place.gsd for row in rows],
    }
    columns = {name: pa.array(values[name], kind) for name, kind in COLUMNS}
    columns |= {"vector": fixed_lists(vectors), "reverse": fixed_lists(reverse)}
    if not reverse.shape[1]:
        del columns["reverse"]
    table = pa.table(columns).replace_schema_metadata({b"geo": _dump(_geo(rows)), OURS: _dump(note)})
    pq.write_table(table, path, compression="zstd")


def read_note(path: Path) -> dict[str, Any]:
    """The note of one shard."""
    return dict(json.loads(pq.read_schema(path).metadata[OURS]))


def fixed_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    """(N, d) as a column of lists of d."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1] or 1)


def matrix_of(column: pa.ChunkedArray) -> np.ndarray:
    """The inverse of `fixed_lists`: (N, d)."""
    width = column.type.list_size
    if not len(column):
        return np.zeros((0, width), np.float16)
    return np.concatenate([chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]).reshape(
        -1, width
    )


def split_at_antimeridian(box: Box) -> list[Box]:
    """The box, or its two halves if it crosses 180 degrees."""
    west, south, east, north = box
    return [box] if west <= east else [(west, south, 180.0, north), (-180.0, south, east, north)]


def footprint(box: Box) -> bytes:
    """WKB of a box: a polygon, or two of them where it crosses the antimeridian."""
    polygons = []
    for west, south, east, north in split_at_antimeridian(box):
        ring = [(west, south), (east, south), (east, north), (west, north), (west, south)]
        polygons.append(struct.pack("<BIII", 1, 3, 1, 5) + b"".join(struct.pack("<dd", *point) for point in ring))
    return polygons[0] if len(polygons) == 1 else struct.pack("<BII", 1, 6, len(polygons)) + b"".join(polygons)


def _geo(rows: Sequence[Row]) -> dict[str, Any]:
    """GeoParquet 1.1 metadata; without a `crs` it is longitude and latitude on WGS 84."""
    boxes = [row.place.box for row in rows if row.place.box]
    kinds = {"Polygon" if len(split_at_antimeridian(box)) == 1 else "MultiPolygon" for box in boxes}
    covering = {edge: ["bbox", edge] for edge in BOX.names}
    column = {"encoding": "WKB", "geometry_types": sorted(kinds), "covering": {"bbox": covering}}
    return {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": column}}


def _dump(values: Any) -> bytes:
    return json.dumps(values, sort_keys=True, separators=(",", ":")).encode()
