"""Recognising how a dataset is laid out, by what its annotation files hold."""

import csv
import io
import json
import re
from collections.abc import Callable
from typing import Any

from iebaker.config.sources import Layout
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

CANDIDATES = 50
COLUMNS = {"filename", "title", "split"}
# UC Merced's images: a folder a class, numbered from 00
UC_MERCED = re.compile(r"(?:.*/)?([a-z]+)/\1(\d\d)\.tif")
# UCM-Captions' names of them: numbered through, from 1
NUMBERED = re.compile(r"(?:.*/)?[1-9]\d{0,3}\.tif")


def detect(files: RawFiles, given: Layout) -> Layout:
    """The layout with its format, and the annotation file where it was not named.

    Only what the annotations look like decides: a reader still checks every row, and says what is wrong with it.

    Args:
        given: what is known; a format that is named is taken as it is.

    Raises:
        IebakerError: if what is named is not there, nothing looks like annotations, or several things do.
    """
    for key in ("annotations", "images"):
        wanted = getattr(given, key)
        if not files.named(wanted):
            raise IebakerError(
                f"{key}: {wanted or 'any file'!r} is not there (there: {_there(files)}); correct the name or the source"
            )
    given = Layout(format=given.format, annotations=given.annotations, images=given.images)
    if given.format:
        return given
    candidates = [name for name in files.named(given.annotations) if name.lower().endswith(tuple(LOOKS))]
    if len(candidates) > CANDIDATES and not all(name.lower().endswith(".parquet") for name in candidates):
        raise IebakerError(f"{len(candidates)} files may be annotations; name the one that is in `annotations`")
    found = {name: kind for name in candidates if (kind := _looks_like(files, name))}
    if not found and len(candidates) == 1:  # its reader says what is wrong with it
        found = {candidates[0]: {".json": "karpathy"}.get(_ending(candidates[0]), _ending(candidates[0])[1:])}
    if not found:
        raise IebakerError(
            f"no annotations are recognised (there: {_there(files)}): expected is Karpathy's or NWPU-Captions' JSON, a "
            "csv with the columns filename, title and split, or the hub's parquet; name `format` and `annotations`"
        )
    kinds = sorted(set(found.values()))
    if len(kinds) > 1 or (len(found) > 1 and kinds != ["parquet"]):
        listed = ", ".join(f"{name} ({kind})" for name, kind in list(found.items())[:5])
        raise IebakerError(f"several files look like annotations: {listed}; name one in `annotations`")
    annotations = given.annotations if kinds == ["parquet"] else next(iter(found))
    return given.model_copy(update={"format": kinds[0], "annotations": annotations})


def _there(files: RawFiles) -> str:
    return ", ".join(sorted({name.split("/")[0] for name in files.names})[:10]) or "nothing"


def _ending(name: str) -> str:
    return f".{name.lower().rsplit('.', 1)[-1]}"


def _looks_like(files: RawFiles, name: str) -> str | None:
    """The format of one file, None if it is of no known one."""
    return LOOKS[_ending(name)](files, name)


def _json(files: RawFiles, name: str) -> str | None:
    try:
        content: Any = json.loads(files.read(name).decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(content, dict):
        return None
    images = content.get("images")
    if isinstance(images, list) and _all_hold(images, {"filename", "sentences"}):
        return "ucm" if _is_ucm(files, images) else "karpathy"
    classes = [entries for entries in content.values() if isinstance(entries, list)]
    filled = len(classes) == len(content) > 0
    return "nwpu" if filled and all(_all_hold(entries, {"filename", "raw"}) for entries in classes) else None


def _all_hold(entries: list[Any], keys: set[str]) -> bool:
    """Whether the first entries are dictionaries with these keys."""
    return all(isinstance(entry, dict) and keys <= set(entry) for entry in entries[:10]) and bool(entries)


def _is_ucm(files: RawFiles, images: list[Any]) -> bool:
    """Whether numbered names stand for UC Merced's images, which lie there under their own."""
    names = [str(image.get("filename")) for image in images if isinstance(image, dict)]
    if not all(map(NUMBERED.fullmatch, names)):
        return False
    there = {name.rsplit("/", 1)[-1] for name in files.names}
    return not there & set(names) and any(map(UC_MERCED.fullmatch, files.names))


def _csv(files: RawFiles, name: str) -> str | None:
    start = files.read(name)[:4096].decode("utf-8-sig", errors="replace").partition("\n")[0]
    try:
        header = next(csv.reader(io.StringIO(start)), [])
    except csv.Error:
        return None
    return "csv" if set(header) >= COLUMNS else None


def _parquet(files: RawFiles, name: str) -> str | None:
    with files.open(name) as stream:
        return "parquet" if stream.read(4) == b"PAR1" else None


LOOKS: dict[str, Callable[[RawFiles, str], str | None]] = {".json": _json, ".csv": _csv, ".parquet": _parquet}
