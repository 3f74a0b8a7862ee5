"""Where a search finds its rows: in a LanceDB table that belongs to the shards as they are, else in the shards."""

from typing import Protocol

import numpy as np
import pyarrow as pa

from iebaker.search import lance
from iebaker.search.archive import Archive
from iebaker.search.items import Box
from iebaker.search.scan import Scan


class Store(Protocol):
    """Rows of an archive in the order of its shards, from 0."""

    def __len__(self) -> int: ...

    def nearest(
        self, query: np.ndarray, count: int, where: str | None = None, box: Box | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The `count` rows with the largest inner product among those that pass the filters, best first, ties by row.

        Args:
            query: (d,) float32.

        Returns:
            (K,) rows, and (K,) float32 inner products with the stored vectors.

        Raises:
            IebakerError: for filters that cannot be understood.
        """
        ...

    def take(self, rows: np.ndarray, columns: list[str]) -> pa.Table:
        """What `shards.ABOUT` says of some rows, in the order of `rows`."""
        ...

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """(K, d) float32, normalised to half precision."""
        ...

    def profiles(self, rows: np.ndarray) -> np.ndarray:
        """(K, m) float16 of `reverse.profile`."""
        ...

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of `shards.ABOUT`, of all rows."""
        ...


def open_store(archive: Archive, exact: bool = False) -> Store:
    """The store to search an archive by; with `exact` the shards, whatever else there is.

    Raises:
        IebakerError: if its table lies on object storage and cannot be used, and the shards are not here either.
    """
    return Scan(archive) if exact else lance.opened(archive) or Scan(archive)
