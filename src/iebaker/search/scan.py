"""The exact store: every row of the shards against the query, block by block."""

from typing import cast

import numpy as np
import pyarrow as pa

from iebaker.search.archive import Archive
from iebaker.search.items import Box
from iebaker.search.where import matching

BLOCK = 1 << 16  # rows at a time


class Scan:
    """The shards of an archive as a `store.Store`."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive

    def __len__(self) -> int:
        return len(self.archive.vectors)

    def nearest(
        self, query: np.ndarray, count: int, where: str | None = None, box: Box | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `store.Store.nearest`, exact."""
        return top_rows(self.archive.vectors, query, count, matching(self.archive.table, where, box))

    def take(self, rows: np.ndarray, columns: list[str]) -> pa.Table:
        """As `store.Store.take`."""
        return self.archive.table.select(columns).take(rows)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """As `store.Store.vectors`."""
        return np.array(self.archive.vectors[rows])

    def profiles(self, rows: np.ndarray) -> np.ndarray:
        """As `store.Store.profiles`."""
        return np.asarray(cast(np.ndarray, self.archive.profiles)[rows])  # asked for only where there is a bank

    def column(self, name: str) -> pa.ChunkedArray:
        """As `store.Store.column`."""
        return self.archive.table[name]


def top_rows(
    vectors: np.ndarray, query: np.ndarray, count: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows with the largest inner product, best first, ties by row; and those products.

    Args:
        vectors: (N, d) float32, memory-mapped or not.
        query: (d,) float32.
        allowed: (M,) ascending rows to look at; None for all.
    """
    scores = np.empty(len(vectors) if allowed is None else len(allowed), np.float32)
    for start in range(0, len(scores), BLOCK):
        part = slice(start, start + BLOCK)
        scores[part] = (vectors[part] if allowed is None else vectors[allowed[part]]) @ query
    best = np.arange(len(scores))
    if count < len(scores):
        # all that tie with the last one stay in, so that the order of ties is the rows'
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        best = np.flatnonzero(scores >= threshold)
    best = best[np.lexsort((best, -scores[best]))][:count]
    return (best if allowed is None else allowed[best]), scores[best]
