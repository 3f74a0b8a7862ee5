"""A LanceDB table of an archive, derived from its shards: approximate search, filters first, also on object storage.

The shards remain the truth. The table says which shards it was made from and is not used with others. Extra `search`.
"""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from iebaker.corpus.streams import stream
from iebaker.errors import IebakerError
from iebaker.search import shards
from iebaker.search.archive import LOCAL, Archive
from iebaker.search.items import Box
from iebaker.search.scan import top_rows
from iebaker.search.where import filter_of

INDEXED_FROM = 100_000  # rows; below, comparing all of them is as fast and exact
PARTITION = 8192  # rows of the index
ITEMS, STATE = "items", "state"  # tables; the second is written last, so a table with one is whole
BITS = 4  # of an indexed vector's every dimension
REFINED = 5  # times as many candidates are compared by their full vectors
NEAREST, TARGET, QUERIES = 10, 0.97, 50  # as few probes as reach this recall@10 of these queries
FIRST, STEPS = 4, 16  # probes that are tried first; then doubled, and halved to a sixteenth


@dataclass(frozen=True)
class State:
    """What a table says of itself.

    Attributes:
        shards: identifies the shards it was made from.
        rows: in it.
        probes: partitions of the index that a query looks into; 0 without an index.
        recall: recall@10 against the exact scan that these reach on captions of the bank, or without one on mixed
            rows; 1 without an index.
    """

    shards: str
    rows: int
    probes: int = 0
    recall: float = 1.0


class Table:
    """A table as a `store.Store`."""

    def __init__(self, table: Any, state: State) -> None:
        self.table, self.state = table, state

    def __len__(self) -> int:
        return self.state.rows

    def nearest(
        self, query: np.ndarray, count: int, where: str | None = None, box: Box | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `store.Store.nearest`; approximate with an index."""
        from lancedb.expr import col

        # of length 1: which partitions are probed depends on the length, the order of results doesn't
        unit = query / max(float(np.linalg.norm(query)), 1e-12)
        asked = self.table.search(unit).distance_type("dot").select(["row", "vector", "_distance"]).limit(count)
        condition = filter_of(where, box, col)
        if condition is not None:
            asked = asked.where(condition, prefilter=True)
        if self.state.probes:
            # with a filter without upper limit: it may leave too few rows in the partitions probed first
            most = self.state.probes if condition is None else 0
            asked = asked.minimum_nprobes(self.state.probes).maximum_nprobes(most).refine_factor(REFINED)
        found = asked.to_arrow()
        rows = found["row"].to_numpy()
        similarity = shards.matrix_of(found["vector"]).astype(np.float32) @ query
        order = np.lexsort((rows, -similarity))
        return rows[order], similarity[order]

    def take(self, rows: np.ndarray, columns: list[str]) -> pa.Table:
        """As `store.Store.take`."""
        # it gives each row once, in the table's order
        found = self.table.take_offsets(np.unique(rows).tolist()).select(["row", *columns]).to_arrow()
        place = np.searchsorted(found["row"].to_numpy(), rows)
        return found.drop_columns(["row"]).take(place)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """As `store.Store.vectors`."""
        return shards.matrix_of(self.take(rows, ["vector"])["vector"]).astype(np.float32)

    def profiles(self, rows: np.ndarray) -> np.ndarray:
        """As `store.Store.profiles`."""
        return shards.matrix_of(self.take(rows, ["reverse"])["reverse"])

    def column(self, name: str) -> pa.ChunkedArray:
        """As `store.Store.column`."""
        return self.table.search().select([name]).to_arrow()[name]


def opened(archive: Archive) -> Table | None:
    """The table of an archive, if there is one and it belongs to its shards.

    Raises:
        IebakerError: if it is on object storage and cannot be used, and the shards are not here to search instead.
    """
    if not archive.named_table and not (archive.folder / LOCAL / f"{STATE}.lance").exists():
        return None
    try:
        database = _connect(archive.table_place)
        state = _state(database)
    except IebakerError:
        if archive.files:
            return None
        raise
    if state is None or state.shards != archive.shards_digest:
        if archive.files:
            return None
        raise IebakerError(
            f"{archive.table_place}: no table of {archive.folder}; run `iebaker index` where its shards are"
        )
    return Table(database.open_table(ITEMS), state)


def refresh(archive: Archive) -> State | None:
    """Make the table anew unless it belongs to the shards; None if none is needed.

    It is needed where a place for it was named, and from `INDEXED_FROM` rows on.

    Raises:
        IebakerError: without the extra, or if the place cannot be written.
    """
    here = not archive.named_table and len(archive.vectors) >= INDEXED_FROM
    if not here:  # what was needed before is in the way
        for name in (STATE, ITEMS):
            shutil.rmtree(archive.folder / LOCAL / f"{name}.lance", ignore_errors=True)
    if not len(archive.vectors) or not (here or archive.named_table):
        return None
    database = _connect(archive.table_place)
    state = _state(database)
    if state is not None and state.shards == archive.shards_digest:
        return state
    try:
        return _build(archive, database)
    except (RuntimeError, OSError, ValueError) as error:
        raise IebakerError(f"{archive.table_place}: the table cannot be written ({_short(error)})") from error


def brought_up_to_date(archive: Archive) -> str:
    """Do `refresh`, and say in one line what there is now; "" where nothing is needed.

    Raises:
        IebakerError: if a table was asked for and cannot be made; where it would only be faster, the line says so.
    """
    try:
        state = refresh(archive)
    except IebakerError as error:
        if archive.named_table:
            raise
        return f"{len(archive.vectors)} rows are compared one by one; for a faster index: {error}"
    if state is None:
        return ""
    if not state.probes:
        return f"{archive.table_place}: a table of {state.rows} rows, exact"
    return f"{archive.table_place}: an index of {state.rows} rows, recall@10 {state.recall:.3f} against exact"


def _build(archive: Archive, database: Any) -> State:
    from lancedb.index import Bitmap, BTree, IvfRq

    for name in (STATE, ITEMS):
        if name in database.list_tables().tables:
            database.drop_table(name)
    batches = _batches(archive)
    first = next(batches)
    reader = pa.RecordBatchReader.from_batches(first.schema, _again(first, batches))
    table = database.create_table(ITEMS, reader)
    for name in (*shards.BOX.names, "datetime", "gsd", "sensor"):
        if table.count_rows(f"{name} is not null"):
            table.create_index(name, config=Bitmap() if name == "sensor" else BTree())
    state = State(archive.shards_digest, len(archive.vectors))
    if state.rows >= INDEXED_FROM:
        table.create_index("vector", config=IvfRq("dot", state.rows // PARTITION, BITS))
        state = _probed(archive, table, state)
    database.create_table(STATE, [asdict(state)])
    return state


def _batches(archive: Archive) -> Iterator[pa.RecordBatch]:
    """The shards, with the number of each row and the edges of its box as columns of their own."""
    start = 0
    for file in archive.files:
        kept = [name for name in pq.read_schema(file).names if name in (*shards.ABOUT, "vector", "reverse")]
        part = pq.read_table(file, columns=kept).combine_chunks()
        box = part["bbox"].combine_chunks()
        for edge in shards.BOX.names:
            part = part.append_column(edge, pc.struct_field(box, edge))
        part = part.append_column("row", pa.array(np.arange(start, start + len(part))))
        start += len(part)
        yield from part.replace_schema_metadata(None).to_batches()


def _again(first: Any, others: Iterator[Any]) -> Iterator[Any]:
    yield first
    yield from others


def _probed(archive: Archive, table: Any, state: State) -> State:
    """The state with as few probes as reach the target, or all."""
    queries, own = sample_queries(archive, QUERIES)
    exact = [top_rows(archive.vectors, query, NEAREST + 1)[0] for query in queries]

    def tried(probes: int) -> State:
        attempt = Table(table, replace(state, probes=probes))
        found = [attempt.nearest(query, NEAREST + 1)[0] for query in queries]
        return replace(state, probes=probes, recall=recall_at(NEAREST, found, exact, own))

    few, enough = 0, tried(FIRST)
    while enough.recall < TARGET and enough.probes < state.rows // PARTITION:
        few, enough = enough.probes, tried(min(2 * enough.probes, state.rows // PARTITION))
    while enough.probes - few > max(enough.probes // STEPS, 1):
        between = tried((few + enough.probes) // 2)
        if between.recall < TARGET:
            few = between.probes
        else:
            enough = between
    return enough


def sample_queries(archive: Archive, count: int) -> tuple[np.ndarray, list[int | None]]:
    """Queries to measure recall by: captions of the bank, or else rows mixed half and half with noise.

    Rows as they are would flatter the index: it was fitted to them.

    Returns:
        (Q, d) float32, and for each the row that it was made from, which it is sure to find.
    """
    if archive.settings.bank_size:
        features = archive.captions[1]
        return features[np.linspace(0, len(features) - 1, min(count, len(features))).astype(int)], [None] * count
    generator = stream(0, "data")
    rows = np.sort(generator.permutation(len(archive.vectors))[:count])
    return mixed(np.array(archive.vectors[rows]), generator), rows.tolist()


def mixed(vectors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """(N, d) float32: normalised vectors plus as much isotropic noise, normalised."""
    noise = generator.standard_normal(vectors.shape, np.float32)
    together = vectors + noise / np.linalg.norm(noise, axis=1, keepdims=True)
    return np.asarray(together / np.linalg.norm(together, axis=1, keepdims=True))


def recall_at(
    count: int, found: Sequence[np.ndarray], exact: Sequence[np.ndarray], own: Sequence[int | None] | None = None
) -> float:
    """Share of each query's exact `count` nearest rows, itself left out, that are among the `count` found."""
    shares = []
    for query, (some, true) in enumerate(zip(found, exact, strict=True)):
        itself = own[query] if own else None
        wanted = [row for row in true if row != itself][:count]
        got = {*[row for row in some if row != itself][:count]}
        shares.append(np.mean([row in got for row in wanted]))
    return float(np.mean(shares))


def _connect(place: str) -> Any:
    try:
        import lancedb
    except ImportError as error:
        raise IebakerError(f"{error.name} is missing; install it by: pip install 'iebaker[search]'") from error
    try:
        return lancedb.connect(place)
    except (RuntimeError, OSError, ValueError) as error:
        raise IebakerError(f"{place}: the table cannot be reached ({_short(error)})") from error


def _state(database: Any) -> State | None:
    try:
        if STATE not in database.list_tables().tables:
            return None
        return State(**database.open_table(STATE).to_arrow().to_pylist()[0])
    except (RuntimeError, OSError, ValueError) as error:
        raise IebakerError(f"{database.uri}: the table cannot be read ({_short(error)})") from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
