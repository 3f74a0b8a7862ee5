"""Making all shards of a plan the archive, at once."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from iebaker.atomic import replacing, replacing_file, write_text
from iebaker.errors import IebakerError
from iebaker.search import archive as layout
from iebaker.search import shards
from iebaker.search.hashes import Hashes
from iebaker.search.plan import Plan
from iebaker.search.spreadsheet import as_cell


def commit(plan: Plan) -> int:
    """Make all shards of the plan the archive; the number of its rows.

    Raises:
        IebakerError: naming the shards that are missing; the archive then stays as it was.
    """
    hashes = Hashes(plan.folder)
    found: list[Path] = []
    missing = []
    for number, (name, part) in enumerate(zip(plan.names, plan.parts, strict=True), start=1):
        contents, _ = hashes.of(plan.roots, part, name)
        if place := plan.where(name, plan.digest(contents)):
            found.append(place)
        else:
            missing.append(number)
    if missing:
        few = ", ".join(map(str, missing[:10])) + (" ..." if len(missing) > 10 else "")
        raise IebakerError(
            f"{plan.folder}: shards {few} of {len(plan.parts)} are not there yet, or files changed since; run "
            "`iebaker index` again, with --shard i/n for every i if the work is shared"
        )
    names = plan.names
    with replacing(plan.folder / layout.SHARDS) as folder:
        for place, name in zip(found, names, strict=True):
            _link(place / f"{name}.parquet", folder / f"{name}.parquet")
    if plan.settings.tokens:
        with replacing(plan.folder / layout.TOKENS) as folder:
            for place, name in zip(found, names, strict=True):
                _link(_tokens_file(place, name), folder / f"{name}.npy")
    else:
        shutil.rmtree(plan.folder / layout.TOKENS, ignore_errors=True)
    return _finish(plan, names)


def publish(folder: Path, destination: Path) -> None:
    """Copy an archive without what belongs to this machine: equal archives then are equal folders.

    Where its images and its model lie is kept relative to `destination`, so that a project can be moved as a whole.
    """
    places = layout.read_places(folder)
    with replacing(destination) as out:
        for path in sorted(folder.rglob("*")):
            place = path.relative_to(folder)
            if path.is_file() and place.parts[0] not in (layout.LOCAL, layout.PENDING):
                (out / place).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, out / place)
        layout.write_relative_places(out, destination, places)


def _finish(plan: Plan, names: Sequence[str]) -> int:
    """What describes the shards: captions, refused files, collection.json, and this machine's places and vectors."""
    files = [plan.folder / layout.SHARDS / f"{name}.parquet" for name in names]
    captions = plan.pending / layout.CAPTIONS
    if captions.exists():
        captions.replace(plan.folder / layout.CAPTIONS)
    if not plan.captions:
        (plan.folder / layout.CAPTIONS).unlink(missing_ok=True)
    refused = plan.refused + [tuple(one) for file in files for one in shards.read_note(file)["refused"]]
    table = pd.DataFrame(sorted(refused), columns=["href", "reason"]).map(as_cell)
    write_text(plan.folder / layout.REFUSED, table.to_csv(index=False, lineterminator="\n"))
    layout.write_places(plan.folder, plan.roots, plan.request.as_dict())
    layout.write_collection(plan.folder, plan.settings, files, len(refused))
    shutil.rmtree(plan.pending, ignore_errors=True)
    Hashes(plan.folder).forget(set(names))
    return write_vectors(plan.folder, files, plan.settings.dimensions)


def write_vectors(folder: Path, files: Sequence[Path], dimensions: int) -> int:
    """Write the vectors of all shards in single precision for the exact scan, memory-mapped; the number of rows."""
    rows = [pq.read_metadata(file).num_rows for file in files]
    with replacing_file(folder / layout.LOCAL / layout.VECTORS) as partial:
        if sum(rows):
            out = np.lib.format.open_memmap(partial, "w+", np.float32, (sum(rows), dimensions))
            start = 0
            for file, count in zip(files, rows, strict=True):
                out[start : start + count] = shards.matrix_of(pq.read_table(file, columns=["vector"])["vector"])
                start += count
            out.flush()
        else:
            with partial.open("wb") as empty:
                np.save(empty, np.zeros((0, dimensions), np.float32))
    return sum(rows)


def _tokens_file(place: Path, name: str) -> Path:
    return (place if place.name == layout.PENDING else place.parent / layout.TOKENS) / f"{name}.npy"


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, which costs no space; a copy where the file system has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
