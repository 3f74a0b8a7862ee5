"""Embedding the shards of a plan: a shard is the unit of resuming after a kill, and of sharing the work."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from tqdm import tqdm

from iebaker.atomic import replacing_file
from iebaker.errors import IebakerError
from iebaker.search import archive as layout
from iebaker.search import bank as banks
from iebaker.search import reverse, shards
from iebaker.search.archive import Archive
from iebaker.search.embedding import BATCH, Embedder
from iebaker.search.hashes import Hashes
from iebaker.search.items import Place, Window, items_of
from iebaker.search.listing import ListedFile
from iebaker.search.plan import Plan
from iebaker.search.shards import Row

ALL = (1, 1)


@dataclass
class Summary:
    """What one call did.

    Attributes:
        embedded, reused: rows that went through the tower, and rows whose content was known.
        written, complete: shards written, and shards that were there already.
        seconds: in all; in_tower of them in the image tower.
        refused: (href, why) of the files left out, of this call's shards.
    """

    embedded: int = 0
    reused: int = 0
    written: int = 0
    complete: int = 0
    seconds: float = 0.0
    in_tower: float = 0.0
    refused: list[tuple[str, str]] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        """Count what another one did too; the time is its own matter."""
        for name in ("embedded", "reused", "written", "complete", "in_tower"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.refused += other.refused


def write_shards(plan: Plan, embedder: Embedder, share: tuple[int, int] = ALL) -> Summary:
    """Embed every n-th shard, the i-th first, for share = (i, n); what is complete already is left as it is.

    Raises:
        IebakerError: if another model made the archive.
    """
    summary, started = Summary(refused=list(plan.refused)), time.perf_counter()
    indexer = Indexer(plan, embedder)
    mine = list(zip(plan.names, plan.parts, strict=True))[share[0] - 1 :: share[1]]
    with tqdm(total=sum(len(part) for _, part in mine), desc="index", unit=" images") as bar:
        for name, part in mine:
            summary.add(indexer.write(name, part, bar.update))
    summary.seconds = time.perf_counter() - started
    return summary


class Indexer:
    """What a process needs to write shards of a plan, whichever they are.

    Raises:
        IebakerError: if another model made the archive.
    """

    def __init__(self, plan: Plan, embedder: Embedder) -> None:
        self.plan, self.embedder, self.known = plan, embedder, Known(plan)
        self.hashes = Hashes(plan.folder)
        self.features = np.zeros((0, embedder.width), np.float32)
        if plan.captions:
            features = banks.features(embedder, plan.captions, self.known.captions_file)
            banks.write(plan.pending / layout.CAPTIONS, plan.captions, features)
            self.features = features.astype(np.float32)

    def write(self, name: str, part: Sequence[ListedFile], done: Callable[[int], Any] = int) -> Summary:
        """Write one shard unless it is complete.

        Args:
            part: its files.
            done: told of every number of files that are finished.
        """
        summary, plan = Summary(), self.plan
        contents, unread = self.hashes.of(plan.roots, part, name)
        digest = plan.digest(contents)
        if place := plan.where(name, digest):
            summary.complete += 1
            done(len(part))
        else:
            writer = _ShardWriter(plan, self.embedder, self.known, self.features, summary)
            for href, sha256 in contents:
                writer.add(href, sha256)
                done(1)
            writer.finish(name, digest, unread)
            summary.written, place = 1, plan.pending
            done(len(part) - len(contents))
        summary.refused += map(tuple, shards.read_note(place / f"{name}.parquet")["refused"])
        return summary


class Known:
    """Vectors of the archive as it is, by the content of their files.

    Raises:
        IebakerError: if another model made it.
    """

    def __init__(self, plan: Plan) -> None:
        self.captions_file = plan.folder / layout.CAPTIONS
        self._archive: Archive | None = None
        self._rows: dict[str, np.ndarray] = {}
        if not (plan.folder / layout.COLLECTION).exists():
            return
        archive = Archive(plan.folder)
        of_archive, of_plan = archive.settings, plan.settings
        if of_archive.fingerprint != of_plan.fingerprint:
            raise IebakerError(
                f"{plan.folder}: made by another model ({of_archive.model}, {of_archive.fingerprint[:12]}); index with "
                "that one, or into another folder"
            )
        if of_archive.scenes == of_plan.scenes and (of_archive.tokens or not of_plan.tokens):
            self._archive = archive
            sha256 = archive.table["sha256"].to_pandas()
            self._rows = {content: np.asarray(rows) for content, rows in sha256.groupby(sha256).indices.items()}

    def rows(self, sha256: str, tokens: bool) -> Iterator[tuple[Window | None, Place, np.ndarray, np.ndarray]]:
        """Window, place, vector (d,) and tokens (P, d) of each row of a file of that content; nothing if unknown."""
        rows = self._rows.get(sha256)
        if rows is None or self._archive is None:
            return
        table = self._archive.table.take(rows).to_pylist()
        for row, of in zip(rows, table, strict=True):
            if of["href"] != table[0]["href"]:
                break  # a copy of the same file
            place = Place(of["bbox"] and tuple(of["bbox"].values()), of["datetime"], of["sensor"], of["gsd"])
            kept = np.zeros((0, 0), np.float16)
            if tokens:
                kept = cast(list[np.ndarray], self._archive.tokens(np.array([row])))[0]
            yield of["window"] and tuple(of["window"]), place, self._archive.vectors[row].astype(np.float16), kept


class _ShardWriter:
    """Rows of one shard: reused, or embedded in batches of fixed size."""

    def __init__(self, plan: Plan, embedder: Embedder, known: Known, bank: np.ndarray, summary: Summary) -> None:
        self.plan, self.embedder, self.known, self.bank, self.summary = plan, embedder, known, bank, summary
        self.rows: list[Row] = []
        self.vectors: list[np.ndarray | None] = []
        self.tokens: list[np.ndarray | None] = []
        self.refused: list[tuple[str, str]] = []
        self.waiting: list[tuple[int, np.ndarray]] = []  # row and pixels

    def add(self, href: str, sha256: str) -> None:
        """Take the items of one file, or list it as refused."""
        settings, first = self.plan.settings, len(self.rows)
        for window, place, vector, tokens in self.known.rows(sha256, settings.tokens):
            self._take(Row(href, sha256, window, place), vector, tokens)
            self.summary.reused += 1
        if len(self.rows) > first:
            return
        try:
            for item in items_of(self.plan.roots, href, settings.image_size, settings.scenes):
                self.waiting.append((len(self.rows), item.pixels))
                self._take(Row(href, sha256, item.window, item.place))
                if len(self.waiting) >= BATCH:
                    self._embed()
        except (IebakerError, OSError) as error:
            del self.rows[first:], self.vectors[first:], self.tokens[first:]
            self.waiting = [(row, pixels) for row, pixels in self.waiting if row < first]
            self.refused.append((href, " ".join(str(error).split())))

    def finish(self, name: str, digest: str, unread: list[tuple[str, str]]) -> None:
        """Write the shard; it appears whole."""
        self._embed()
        settings, pending = self.plan.settings, self.plan.pending
        vectors = np.array(self.vectors, np.float16).reshape(-1, settings.dimensions)
        profiles = np.zeros((len(vectors), 0), np.float16)
        if settings.bank_size:
            profiles = reverse.profile(vectors, self.bank)
        if settings.tokens:
            with replacing_file(pending / f"{name}.npy") as partial, partial.open("wb") as file:
                np.save(file, np.array(self.tokens, np.float16))
        note = {"plan": digest, "model": settings.fingerprint, "refused": sorted(self.refused + unread)}
        with replacing_file(pending / f"{name}.parquet") as partial:
            shards.write(partial, self.rows, vectors, profiles, note)

    def _take(self, row: Row, vector: np.ndarray | None = None, tokens: np.ndarray | None = None) -> None:
        self.rows.append(row)
        self.vectors.append(vector)
        self.tokens.append(tokens)

    def _embed(self) -> None:
        if not self.waiting:
            return
        started = time.perf_counter()
        pooled, tokens = self.embedder.images([pixels for _, pixels in self.waiting], self.plan.settings.tokens)
        self.summary.in_tower += time.perf_counter() - started
        self.summary.embedded += len(pooled)
        for (row, _), vector, of_row in zip(self.waiting, pooled, tokens, strict=True):
            self.vectors[row], self.tokens[row] = vector, of_row
        self.waiting = []
