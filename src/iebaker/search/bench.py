"""Speed, recall, memory and space of search over made vectors, against numpy: `iebaker bench-search`."""

import hashlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from iebaker.corpus.streams import stream
from iebaker.errors import IebakerError
from iebaker.search import lance, shards
from iebaker.search.archive import LOCAL, SHARDS, VECTORS, Archive, Settings, write_collection
from iebaker.search.commit import write_vectors
from iebaker.search.items import Place
from iebaker.search.scan import BLOCK, Scan
from iebaker.search.shards import Row
from iebaker.search.store import Store

COUNT = lance.NEAREST
QUERIES = 50  # each asked once of what is exact and four times of the index
ROUNDS = 4
SPREAD = 0.5  # of the noise around real vectors, whose length is 1


def bench(sizes: Sequence[int], width: int, like: Path | None = None) -> Iterator[dict[str, Any]]:
    """Measure random unit vectors of every size and, with `like`, as many rows of that archive with noise.

    Yields:
        What is measured so far, as plain data: where, and under "table" one row a size with times in milliseconds,
        sizes in megabytes (10^6 bytes) and the load of the machine, which the times depend on.
    """
    wanted = [("random", size, None) for size in sizes] + [("clustered", size, like) for size in sizes if like]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count(), "queries": QUERIES}
    table = []
    for kind, size, archive in tqdm(wanted, desc="bench-search"):
        with tempfile.TemporaryDirectory() as folder:
            measured = _measured(Path(folder), made(size, width, archive))
        table.append({"vectors": kind, "rows": size, **measured, "load": round(os.getloadavg()[0], 1)})
        yield {**machine, "table": table}


def made(size: int, width: int, like: Path | None) -> Iterator[np.ndarray]:
    """Unit vectors in parts of (<= BLOCK, d) float32: random directions, or rows of an archive with noise."""
    generator = stream(0, "data")
    source = None if like is None else Archive(like).vectors
    for start in range(0, size, BLOCK):
        shape = (min(BLOCK, size - start), width if source is None else source.shape[1])
        part = generator.standard_normal(shape, np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
        if source is not None:
            part = source[generator.integers(0, len(source), len(part))] + SPREAD * part
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        yield part


def write_archive(
    folder: Path, parts: Iterable[np.ndarray], place: Callable[[int], Place] = lambda row: Place()
) -> Archive:
    """An archive of unit vectors without images, one shard a part; its rows are far/0000000, far/0000001, ..."""
    (folder / SHARDS).mkdir(parents=True)
    files: list[Path] = []
    start = 0
    for vectors in parts:
        half = vectors.astype(np.float16)
        rows = [Row(f"far/{row:07d}", f"{row:064d}", None, place(row)) for row in range(start, start + len(half))]
        note = {"plan": hashlib.sha256(half.tobytes()).hexdigest(), "model": "", "refused": []}
        files.append(folder / SHARDS / f"{len(files):05d}.parquet")
        shards.write(files[-1], rows, half, np.zeros((len(half), 0), np.float16), note)
        start += len(half)
    write_collection(folder, Settings("none", "", half.shape[1], 1), files, 0)
    write_vectors(folder, files, half.shape[1])
    return Archive(folder)


def _measured(folder: Path, parts: Iterable[np.ndarray]) -> dict[str, Any]:
    archive = write_archive(folder / "archive", parts)
    started = time.perf_counter()
    state = lance.refresh(archive)
    built = time.perf_counter() - started
    local = archive.folder / LOCAL
    out = {
        "shards_mb": _megabytes(archive.folder / SHARDS),
        "scan_mb": _megabytes(local / VECTORS),
        "table_mb": _megabytes(local / f"{lance.ITEMS}.lance") if state else None,
        "index_seconds": round(built, 1) if state else None,
        "probes": state.probes if state else None,
    }
    exact, truth = _alone(_exact, archive.folder)
    out |= exact
    return out | (_alone(_approximate, archive.folder, truth) if state else {})


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """Run it in a new process, whose memory is its own."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def _exact(folder: Path) -> tuple[dict[str, Any], list[np.ndarray]]:
    """Exact search by turns with numpy's product over the same vectors in memory; and what it finds."""
    archive = Archive(folder)
    queries, _ = _queries(archive)
    store, before = Scan(archive), _memory()
    _ask(store, queries[0])
    memory = _memory() - before
    vectors = np.array(archive.vectors)
    seconds = np.array([(_timed(_scan, vectors, query), _timed(_ask, store, query)) for query in queries])
    out = {
        **_percentiles("numpy", seconds[:, 0]),
        **_percentiles("exact", seconds[:, 1]),
        "exact_to_numpy": round(float(np.median(seconds[:, 1]) / np.median(seconds[:, 0])), 3),
        "exact_memory_mb": round(memory / 1e6),
    }
    return out, [store.nearest(query, COUNT + 1)[0] for query in queries]


def _approximate(folder: Path, truth: list[np.ndarray]) -> dict[str, Any]:
    archive = Archive(folder)
    queries, own = _queries(archive)
    archive.__dict__.pop("vectors")  # the index needs none of them
    before = _memory()
    store = lance.opened(archive)
    if store is None:
        raise IebakerError(f"{folder}: the index that was just made is not there")
    _ask(store, queries[0])
    seconds = [_timed(_ask, store, query) for _ in range(ROUNDS) for query in queries]
    memory = _memory() - before
    found = [store.nearest(query, COUNT + 1)[0] for query in queries]
    return {
        **_percentiles("index", np.array(seconds)),
        "recall": round(lance.recall_at(COUNT, found, truth, own), 4),
        "index_memory_mb": round(memory / 1e6),
    }


def _queries(archive: Archive) -> tuple[np.ndarray, list[int]]:
    """Rows mixed with noise, others than those that the index's probes were chosen by; and which rows."""
    generator = stream(1, "data")
    rows = generator.permutation(len(archive.vectors))[:QUERIES]
    return lance.mixed(np.array(archive.vectors[rows]), generator), rows.tolist()


def _ask(store: Store, query: np.ndarray) -> None:
    """What a search does beside the towers."""
    rows, _ = store.nearest(query, COUNT)
    store.take(rows, [*shards.ABOUT]).to_pylist()


def _scan(vectors: np.ndarray, query: np.ndarray) -> None:
    """The bound: the products alone, block by block, in single precision."""
    scores = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), BLOCK):
        np.matmul(vectors[start : start + BLOCK], query, out=scores[start : start + BLOCK])


def _timed(function: Callable[..., Any], *arguments: Any) -> float:
    started = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - started


def _percentiles(name: str, seconds: np.ndarray) -> dict[str, float]:
    return {f"{name}_p{p}_ms": round(1e3 * float(np.percentile(seconds, p)), 2) for p in (50, 95)}


def _memory() -> int:
    """Resident bytes of this process, mapped files too."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.partition("VmRSS:")[2].split()[0])


def _megabytes(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return round(sum(file.stat().st_size for file in files) / 1e6, 1)
