"""What is to be indexed: the same plan on every machine that sees the same files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from iebaker.errors import IebakerError
from iebaker.search import archive as layout
from iebaker.search import bank as banks
from iebaker.search import shards
from iebaker.search.archive import Settings
from iebaker.search.embedding import Embedder
from iebaker.search.items import SceneSettings
from iebaker.search.listing import ListedFile, Roots, roots_of

DEFAULT_BANK = 1000  # captions
PUBLISHED_WEIGHTS = (0.6, 0.4)  # of global and local similarity (method: Similarity)


@dataclass(frozen=True)
class Request:
    """What an archive is asked to be; None where nothing was said.

    Attributes:
        model: folder of the model.
        images: folders, files, zips and patterns.
        captions: text file with one caption a line; None takes those that the model was trained on.
        bank_size: captions of the bank, at most.
        tokens: keep the images' tokens for the second stage of a search.
        weights: of global and local similarity; None: the published ones if the model was trained with a local
            similarity, else the global one alone.
        chip, stride, min_valid, bands, scale: of scenes, see `SceneSettings`.
        files_per_shard: at most.
        table: where a LanceDB table is kept, a folder or s3://..., "" for nowhere; it shapes no shard.
    """

    model: Path | None = None
    images: Sequence[str | Path] | None = None
    captions: Path | None = None
    bank_size: int | None = None
    tokens: bool | None = None
    weights: tuple[float, float] | None = None
    chip: int | None = None
    stride: int | None = None
    min_valid: float | None = None
    bands: tuple[int, ...] | None = None
    scale: tuple[float, ...] | None = None
    files_per_shard: int | None = None
    table: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with absolute paths, so that it holds in any working folder."""
        paths = {name: getattr(self, name) and str(getattr(self, name).resolve()) for name in ("model", "captions")}
        images = [str(Path(path).expanduser().absolute()) for path in self.images or ()]
        table = self.table
        if table and "://" not in table:
            table = str(Path(table).expanduser().absolute())
        return {**asdict(self), **paths, "images": images, "table": table}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Request":
        """The inverse of `as_dict`."""
        paths = {name: values[name] and Path(values[name]) for name in ("model", "captions")}
        lists = {name: values[name] and tuple(values[name]) for name in ("images", "weights", "bands", "scale")}
        return cls(**{**values, **paths, **lists})


@dataclass(frozen=True)
class Plan:
    """Which files make which shard, and how.

    Attributes:
        parts: the files of each shard.
        captions: the bank.
        refused: (href, why) of what could not even be listed.
        request: what was asked for.
    """

    folder: Path
    roots: Roots
    parts: Sequence[Sequence[ListedFile]]
    settings: Settings
    captions: list[str]
    refused: list[tuple[str, str]]
    request: Request

    @property
    def pending(self) -> Path:
        """Where shards wait for the commit."""
        return self.folder / layout.PENDING

    @property
    def names(self) -> list[str]:
        """File names of the shards, without suffix."""
        return [f"{number:05d}" for number in range(len(self.parts))]

    def digest(self, contents: Sequence[tuple[str, str]]) -> str:
        """Identifies a shard by all that shapes it: (href, SHA-256) of its files, and the settings."""
        return hashlib.sha256(json.dumps([asdict(self.settings), contents], sort_keys=True).encode()).hexdigest()

    def where(self, name: str, digest: str) -> Path | None:
        """The folder that holds the shard of that content: pending, committed or none."""
        for place in (self.pending, self.folder / layout.SHARDS):
            file = place / f"{name}.parquet"
            if file.exists() and shards.read_note(file)["plan"] == digest:
                return place
        return None


def remembered(folder: Path, given: Request) -> Request:
    """What is asked for now, and for the rest what the archive was last told on this machine."""
    places = layout.read_places(folder)
    if "request" not in places:
        return given
    before = Request.from_dict(places["request"])
    now = {name: value for name, value in vars(given).items() if value is not None}
    return replace(before, **now)


def make_plan(folder: Path, embedder: Embedder, request: Request) -> Plan:
    """Plan the archive `folder`.

    Raises:
        IebakerError: if there is nothing to index.
    """
    roots, files, refused = roots_of(request.images or ())
    size = DEFAULT_BANK if request.bank_size is None else request.bank_size
    captions = banks.captions_of(embedder.folder, request.captions, size)
    weights = request.weights or (PUBLISHED_WEIGHTS if embedder.local else (1.0, 0.0))
    if request.tokens and not weights[1]:
        raise IebakerError("--tokens: the local similarity has no weight here, so tokens would never be read")
    scenes = {name: getattr(request, name) for name in ("chip", "stride", "min_valid", "bands", "scale")}
    settings = Settings(
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.width,
        image_size=embedder.image_size,
        tokens=bool(request.tokens),
        bank=banks.digest_of(captions),
        bank_size=len(captions),
        global_weight=weights[0],
        local_weight=weights[1],
        files_per_shard=request.files_per_shard or Settings.files_per_shard,
        scenes=SceneSettings(**{name: value for name, value in scenes.items() if value is not None}),
    )
    return Plan(folder, roots, cut(files, settings), settings, captions, refused, request)


def cut(files: Sequence[ListedFile], settings: Settings) -> list[list[ListedFile]]:
    """Consecutive files to shards, by number and by size; depends on the listing alone."""
    parts: list[list[ListedFile]] = [[]]
    size = 0
    for file in files:
        full = len(parts[-1]) >= settings.files_per_shard or size + file.size > settings.bytes_per_shard
        if parts[-1] and full:
            parts.append([])
            size = 0
        parts[-1].append(file)
        size += file.size
    return parts
