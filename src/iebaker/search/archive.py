"""An archive on disk: what lies where, and what it says of itself."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.atomic import write_text
from iebaker.errors import IebakerError
from iebaker.search import shards
from iebaker.search.items import SceneSettings
from iebaker.search.listing import Roots, roots_of

COLLECTION = "collection.json"
SHARDS, TOKENS, PENDING = "shards", "tokens", "pending"
REFUSED, CAPTIONS = "refused.csv", "captions.parquet"
# of this machine: absolute paths, times of files, and what can be made again
LOCAL, PLACES, VECTORS = "local", "places.json", "vectors.npy"


@dataclass(frozen=True)
class Settings:
    """All that shapes an archive beside its images.

    Attributes:
        model: open_clip's name.
        fingerprint: of the model folder.
        dimensions: d.
        image_size: side in pixels that the tower reads.
        tokens: whether the images' tokens are kept.
        bank: SHA-256 of the caption bank, "" without one.
        bank_size: captions in it.
        global_weight, local_weight: of the fusion; a local weight of 0 needs no tokens.
        files_per_shard: at most.
        bytes_per_shard: files of this size together fill a shard.
    """

    model: str
    fingerprint: str
    dimensions: int
    image_size: int
    tokens: bool = False
    bank: str = ""
    bank_size: int = 0
    global_weight: float = 1.0
    local_weight: float = 0.0
    files_per_shard: int = 1024
    bytes_per_shard: int = 1 << 30
    scenes: SceneSettings = field(default_factory=SceneSettings)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Settings":
        """The inverse of `dataclasses.asdict`, out of JSON."""
        scenes: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values["scenes"].items()
        }
        return cls(**{**values, "scenes": SceneSettings(**scenes)})


class Archive:
    """An archive opened for reading.

    Attributes:
        folder: where it lies.
        collection: its collection.json.
        settings: what it was made with.
    """

    def __init__(self, folder: Path, images: Sequence[str | Path] = (), model: Path | None = None) -> None:
        """Open it.

        Args:
            images: where its images lie now, if they were moved or indexed on another machine.
            model: the folder of its model, for the same reason.

        Raises:
            IebakerError: if there is no archive.
        """
        self.folder = folder
        try:
            self.collection = json.loads((folder / COLLECTION).read_text(encoding="utf-8"))
        except OSError as error:
            raise IebakerError(
                f"{folder}: no archive ({COLLECTION} is missing); make one by `iebaker index`"
            ) from error
        self.settings = Settings.from_dict(self.collection["iebaker:settings"])
        self._images, self._model = images, model

    @cached_property
    def table(self) -> pa.Table:
        """One row an item: `shards.METADATA`."""
        return self._read(list(shards.METADATA))

    @cached_property
    def vectors(self) -> np.ndarray:
        """(N, d) float32, normalised to half precision; memory-mapped where indexing left them so."""
        mapped = self.folder / LOCAL / VECTORS
        if mapped.exists() and mapped.stat().st_mtime_ns >= (self.folder / COLLECTION).stat().st_mtime_ns:
            vectors: np.ndarray = np.load(mapped, mmap_mode="r")
            return vectors
        return shards.matrix_of(self._read(["vector"])["vector"]).astype(np.float32)

    @cached_property
    def profiles(self) -> np.ndarray | None:
        """(N, m) float16 of `reverse.profile`; None without a caption bank."""
        return shards.matrix_of(self._read(["reverse"])["reverse"]) if self.settings.bank_size else None

    @cached_property
    def captions(self) -> tuple[list[str], np.ndarray]:
        """The caption bank, and its features (B, d) float32.

        Raises:
            IebakerError: if the archive was made without one.
        """
        if not self.settings.bank_size:
            raise IebakerError(f"{self.folder}: it has no captions; index again with --captions FILE, one a line")
        table = pq.read_table(self.folder / CAPTIONS)
        return table["caption"].to_pylist(), shards.matrix_of(table["vector"]).astype(np.float32)

    @cached_property
    def roots(self) -> Roots:
        """Where its images lie here; roots that are not known are missing."""
        if not self._images:
            return Roots({name: self._place(place) for name, place in self._places.get("roots", {}).items()})
        given = roots_of(self._images)[0]
        names = sorted(self._places.get("roots", {}))
        if not names:
            names = sorted({href.partition("/")[0] for href in self.table["href"].to_pylist()})
        if len(names) == len(given.places) == 1:  # it may have another name by now
            return Roots({names[0]: next(iter(given.places.values()))})
        return given

    @property
    def named_table(self) -> str | None:
        """Where its LanceDB table was told to lie, such as s3://bucket/folder; None: here, if it needs one."""
        place: str | None = self._places.get("request", {}).get("table")
        return place

    @property
    def table_place(self) -> str:
        """Where its LanceDB table lies."""
        return self.named_table or str(self.folder / LOCAL)

    @property
    def shards_digest(self) -> str:
        """Identifies the content of its shards."""
        return str(self.collection.get("iebaker:shards", ""))

    @property
    def model_folder(self) -> Path:
        """Where its model lies here.

        Raises:
            IebakerError: if that is not known.
        """
        if self._model is not None:
            return self._model
        known = self._places.get("model") or self._places.get("request", {}).get("model")
        if known is None:
            raise IebakerError(f"{self.folder}: its model's folder is not known on this machine; name it by --model")
        return self._place(known)

    def check_model(self, fingerprint: str, folder: Path) -> None:
        """Raise IebakerError unless `folder` is the model that made the archive."""
        if fingerprint != self.settings.fingerprint:
            raise IebakerError(
                f"{folder}: another model than the one that made {self.folder} ({self.settings.model}, "
                f"{self.settings.fingerprint[:12]}, not {fingerprint[:12]}); give that one, or index again"
            )

    def tokens(self, rows: np.ndarray) -> list[np.ndarray] | None:
        """(P, d) float16 of each row, or None if they were not kept, or are not here."""
        if not self.settings.tokens or not (self.folder / TOKENS).exists():
            return None
        shard = np.searchsorted(self._shard_ends, rows, side="right")
        return [self._token_files[one][row - self._shard_starts[one]] for one, row in zip(shard, rows, strict=True)]

    @cached_property
    def files(self) -> list[Path]:
        """Its shards, in order."""
        return sorted((self.folder / SHARDS).glob("[0-9]*.parquet"))

    @cached_property
    def _shard_ends(self) -> np.ndarray:
        return np.cumsum([pq.read_metadata(file).num_rows for file in self.files])

    @cached_property
    def _shard_starts(self) -> np.ndarray:
        return np.concatenate([[0], self._shard_ends[:-1]])

    @cached_property
    def _token_files(self) -> list[np.ndarray]:
        return [np.load(self.folder / TOKENS / f"{file.stem}.npy", mmap_mode="r") for file in self.files]

    @cached_property
    def _places(self) -> dict[str, Any]:
        return read_places(self.folder)

    def _place(self, place: str) -> Path:
        """A place as it was remembered: absolute, or relative to the archive."""
        return Path(os.path.normpath(self.folder / place))

    def _read(self, columns: list[str]) -> pa.Table:
        if not self.files:
            raise IebakerError(f"{self.folder}: its shards are not here; copy them, or index again")
        return pa.concat_tables([pq.read_table(file, columns=columns) for file in self.files])


def write_places(folder: Path, roots: Roots, request: Mapping[str, Any]) -> None:
    """Remember where images and model lie on this machine, and what was asked for."""
    places = {"roots": {name: str(place) for name, place in roots.places.items()}, "request": dict(request)}
    write_text(folder / LOCAL / PLACES, json.dumps(places, indent=2) + "\n")


def write_relative_places(folder: Path, destination: Path, places: Mapping[str, Any]) -> None:
    """As `write_places`, of an archive that will lie at `destination`: no path of this machine is written."""
    roots = {name: os.path.relpath(place, destination) for name, place in places["roots"].items()}
    values = {"roots": roots, "model": os.path.relpath(places["request"]["model"], destination)}
    write_text(folder / LOCAL / PLACES, json.dumps(values, indent=2) + "\n")


def read_places(folder: Path) -> dict[str, Any]:
    """What `write_places` left; nothing on another machine."""
    path = folder / LOCAL / PLACES
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def write_collection(folder: Path, settings: Settings, files: Sequence[Path], refused: int) -> None:
    """Write collection.json: a STAC collection with the fields of the embeddings extension."""
    boxes, times, count = [], [], 0
    for file in files:
        table = pq.read_table(file, columns=["bbox", "datetime"])
        count += len(table)
        boxes += [tuple(box.values()) for box in table["bbox"].drop_null().to_pylist()]
        times += [time for time in table["datetime"].drop_null().to_pylist()]
    chip = settings.scenes.chip
    values = {
        "type": "Collection",
        "stac_version": "1.1.0",
        "stac_extensions": ["https://stac-extensions.github.io/embeddings/v0.0.1/schema.json"],
        "id": folder.name,
        "description": f"{count} image embeddings by {settings.model}, made by iebaker for text-image retrieval.",
        "license": "other",
        "extent": {
            "spatial": {"bbox": [_hull(boxes)]},
            "temporal": {"interval": [[_iso(min(times)), _iso(max(times))] if times else [None, None]]},
        },
        "links": [
            {"rel": "emb:model", "href": f"urn:sha256:{settings.fingerprint}", "title": settings.model},
            {"rel": "emb:source-data", "href": f"./{SHARDS}/", "title": "the files that the column href names"},
        ],
        "emb:type": "chip",
        "emb:dimensions": settings.dimensions,
        "data_type": "float16",
        "emb:chip_layout": {
            "layout_type": "regular_grid" if boxes else "variable_grid",
            **({"chip_size": [chip, chip], "stride": [settings.scenes.step] * 2} if boxes else {}),
        },
        "emb:preprocessing": {
            "format": "iebaker",
            "expression": f"square of {settings.image_size} pixels, then the preprocessing of the model folder",
        },
        "emb:quantization": {"method": "none", "original_dtype": "float32", "quantized_dtype": "float16"},
        "emb:fit_for_use": ["retrieval", "similarity_search"],
        "assets": {
            file.stem: {"href": f"./{SHARDS}/{file.name}", "type": "application/vnd.apache.parquet", "roles": ["data"]}
            for file in files
        },
        "iebaker:rows": count,
        "iebaker:refused": refused,
        "iebaker:shards": _digest([shards.read_note(file)["plan"] for file in files]),
        "iebaker:settings": asdict(settings),
    }
    write_text(folder / COLLECTION, json.dumps(values, indent=2) + "\n")


def _digest(plans: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(plans).encode()).hexdigest()


def _hull(boxes: Sequence[tuple[float, ...]]) -> list[float]:
    """Around all boxes; the whole earth if there is none, or one crosses the antimeridian."""
    if not boxes or any(west > east for west, _, east, _ in boxes):
        return [-180.0, -90.0, 180.0, 90.0]
    west, south, east, north = zip(*boxes, strict=True)
    return [min(west), min(south), max(east), max(north)]


def _iso(time: Any) -> str:
    return str(time.strftime("%Y-%m-%dT%H:%M:%SZ"))
