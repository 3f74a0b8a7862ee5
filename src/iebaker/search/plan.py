"""What is to be indexed: the same plan on every machine that sees the same files."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from iebaker.errors import IebakerError
from iebaker.search import archive as layout
from iebaker.search import bank as banks
from iebaker.search import shards
from iebaker.search.archive import Settings
from iebaker.search.embedding import Embedder
from iebaker.search.items import SceneSettings
from iebaker.search.listing import ListedFile, Roots, roots_of

PUBLISHED_WEIGHTS = (0.6, 0.4)  # of global and local similarity (method: Similarity)


@dataclass(frozen=True)
class Plan:
    """Which files make which shard, and how.

    Attributes:
        parts: the files of each shard.
        captions: the bank.
        refused: (href, why) of what could not even be listed.
    """

    folder: Path
    roots: Roots
    parts: Sequence[Sequence[ListedFile]]
    settings: Settings
    captions: list[str]
    refused: list[tuple[str, str]]

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


def make_plan(
    folder: Path,
    embedder: Embedder,
    paths: Sequence[str | Path],
    captions: Path | None = None,
    bank_size: int = 0,
    tokens: bool = False,
    weights: tuple[float, float] | None = None,
    scenes: SceneSettings | None = None,
    files_per_shard: int = Settings.files_per_shard,
) -> Plan:
    """Plan the archive `folder` of the images below `paths`.

    Args:
        captions: text file with one caption a line; None takes those that the model was trained on.
        bank_size: captions of the bank, at most.
        tokens: keep the images' tokens for the second stage of a search.
        weights: of global and local similarity; None: the published ones if the model was trained with a local
            similarity, else the global one alone.

    Raises:
        IebakerError: if there is nothing to index.
    """
    roots, files, refused = roots_of(paths)
    bank = banks.captions_of(embedder.folder, captions, bank_size)
    if weights is None:
        weights = PUBLISHED_WEIGHTS if embedder.local else (1.0, 0.0)
    if tokens and not weights[1]:
        raise IebakerError("--tokens: this model's fusion has no local similarity, so tokens would never be read")
    settings = Settings(
        model=embedder.name,
        fingerprint=embedder.fingerprint,
        dimensions=embedder.width,
        image_size=embedder.image_size,
        tokens=tokens,
        bank=banks.digest_of(bank),
        bank_size=len(bank),
        global_weight=weights[0],
        local_weight=weights[1],
        files_per_shard=files_per_shard,
        scenes=scenes or SceneSettings(),
    )
    return Plan(folder, roots, cut(files, settings), settings, bank, refused)


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
