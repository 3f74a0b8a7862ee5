"""The manifest of a prepared benchmark: one row per (image, caption), checked on every write."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.errors import IebakerError

FILE = "manifest.parquet"
SPLITS = ("train", "val", "test")
SCHEMA = pa.schema(
    [
        ("image_id", pa.int64()),  # 0 .. N-1, row of pixels.npy
        ("caption_id", pa.int64()),  # 0 .. M-1, row of this table
        ("filename", pa.string()),  # as the source names it
        ("caption", pa.string()),  # as published, stripped of outer blanks
        ("split", pa.string()),  # train, val or test
        ("scene", pa.string()),  # scene class, "" if unknown
        ("weak", pa.string()),  # synthetic benchmark: vague, sibling or other; "" untouched
        ("phash", pa.uint64()),  # 64-bit DCT perceptual hash of the image
    ]
)


def validate(manifest: pd.DataFrame) -> None:
    """Check columns, numbering, order and splits.

    Raises:
        IebakerError: naming the column and the first row that is wrong.
    """
    if list(manifest.columns) != SCHEMA.names:
        raise IebakerError(f"manifest: columns are {list(manifest.columns)}, must be {SCHEMA.names}")
    if manifest.empty or manifest["image_id"].iat[0] != 0:
        raise IebakerError("manifest: there must be an image, and image_id must start at 0")
    images = manifest.groupby("image_id")
    steps = manifest["image_id"].diff().fillna(0)
    problems = {
        "image_id": (steps != 0) & (steps != 1) | (manifest["image_id"] < 0),
        "caption_id": manifest["caption_id"] != np.arange(len(manifest)),
        "filename": images["filename"].transform("nunique") != 1,
        "caption": manifest["caption"].str.strip() == "",
        "split": ~manifest["split"].isin(SPLITS) | (images["split"].transform("nunique") != 1),
        "phash": images["phash"].transform("nunique") != 1,
    }
    for column, wrong in problems.items():
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise IebakerError(f"manifest, row {row}: {column} = {manifest[column].tolist()[row]!r} is out of place")


def write(manifest: pd.DataFrame, file: Path) -> None:
    """Validate and write; the same table gives the same bytes (with the same version of pyarrow)."""
    validate(manifest)
    # without pandas' metadata, which records library versions
    table = pa.Table.from_pandas(manifest, preserve_index=False).cast(SCHEMA).replace_schema_metadata(None)
    pq.write_table(table, file, compression="zstd", row_group_size=1 << 20)


def read(file: Path) -> pd.DataFrame:
    """Read and validate a manifest."""
    manifest = pd.read_parquet(file)
    validate(manifest)
    return manifest


def digest(manifest: pd.DataFrame) -> str:
    """SHA-256 of the content, independent of how any parquet version stores it."""
    rows = manifest[SCHEMA.names].itertuples(index=False)
    return hashlib.sha256("\n".join(json.dumps(row) for row in rows).encode()).hexdigest()


def images_of(manifest: pd.DataFrame) -> pd.DataFrame:
    """One row per image: image_id, filename, split, scene, phash."""
    return manifest.drop_duplicates("image_id")[["image_id", "filename", "split", "scene", "phash"]]
