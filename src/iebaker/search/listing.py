"""The files that an archive is made of: below folders, matched by patterns, inside zips."""

import glob
import hashlib
import io
import os
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast

from iebaker.datasets.files import UNPACKING_ERRORS, check_relative
from iebaker.errors import IebakerError

# .json: STAC items beside scenes are read with them, and are no images of their own
SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".gif", ".jp2", ".ppm"})
ZIP = ".zip"


@dataclass(frozen=True)
class ListedFile:
    """One file that is to be indexed.

    Attributes:
        href: `<name of the root>/<path below it>`, members of a zip as `.../archive.zip/member`.
        size: bytes, unpacked.
        changed: time of the last change in nanoseconds, of it, a STAC item beside it or its zip; only compared.
    """

    href: str
    size: int
    changed: int


class Roots:
    """What was given to be indexed, each under a name that stands for its place in every href.

    Attributes:
        places: per name, the absolute path of a folder, of a zip, or of the folder that holds a single file.
    """

    def __init__(self, places: Mapping[str, Path]) -> None:
        self.places = dict(places)
        self._zips: dict[Path, zipfile.ZipFile] = {}

    def locate(self, href: str) -> tuple[Path, str]:
        """The file of an href, and the member of it if it is a zip, else "".

        Raises:
            IebakerError: if the href leaves its root, or its root is not known.
        """
        name, _, rest = href.partition("/")
        check_relative(rest, href)
        if name not in self.places:
            known = ", ".join(self.places) or "none"
            raise IebakerError(f"{href}: the folder {name!r} is not known here (known: {known}); name it by --images")
        place = self.places[name]
        if place.suffix.lower() == ZIP:
            return place, rest
        parts = PurePosixPath(rest).parts
        for length, part in enumerate(parts[:-1], start=1):
            if part.lower().endswith(ZIP) and (packed := place.joinpath(*parts[:length])).is_file():
                return packed, "/".join(parts[length:])
        return place / rest, ""

    def open(self, href: str) -> BinaryIO:
        """The content of a listed file; a packed one is held in memory.

        Raises:
            IebakerError: if it is not there or cannot be unpacked.
        """
        path, member = self.locate(href)
        try:
            return io.BytesIO(self._zip(path).read(member)) if member else path.open("rb")
        except (KeyError, *UNPACKING_ERRORS) as error:
            raise IebakerError(f"{href}: cannot be read ({error})") from error

    def path(self, href: str) -> str:
        """Where a person finds it: relative to the working folder if it lies below, else absolute."""
        path, member = self.locate(href)
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        return f"{shown}/{member}" if member else str(shown)

    def _zip(self, path: Path) -> zipfile.ZipFile:
        if path not in self._zips:
            self._zips[path] = zipfile.ZipFile(path)
        return self._zips[path]


def roots_of(paths: Sequence[str | Path]) -> tuple[Roots, list[ListedFile], list[tuple[str, str]]]:
    """List what is below `paths`: folders, files, zips, and patterns with *, ? and **.

    Returns:
        The roots; the files with an image's suffix in the order of their hrefs; and what is refused, as (href, why).

    Raises:
        IebakerError: if a path does not exist or a pattern matches nothing, or if there is no image at all.
    """
    places: dict[str, Path] = {}
    listed: dict[str, ListedFile] = {}
    refused: list[tuple[str, str]] = []
    for given in map(str, paths):
        for path in _expand(given):
            folder = path.parent if path.is_file() and path.suffix.lower() != ZIP else path
            name = _name(places, folder)
            places[name] = folder
            for file in [path] if path.is_file() else _below(path):
                relative = "" if file == folder else f"/{file.relative_to(folder).as_posix()}"
                _add(file, f"{name}{relative}", listed, refused)
    if not listed:
        raise IebakerError(
            f"{', '.join(map(str, paths))}: no image below it ({', '.join(sorted(SUFFIXES))}, in zips too)"
        )
    return Roots(places), [listed[href] for href in sorted(listed)], sorted(refused)


def sidecars(href: str) -> list[str]:
    """Where a STAC item of a file may lie."""
    path = PurePosixPath(href)
    return [str(path.with_suffix(".json")), str(path.with_name("item.json")), str(path.with_name("items.json"))]


def sha256_of(file: BinaryIO) -> str:
    """Of the content of an open file, which is then at its start again."""
    digest = hashlib.file_digest(cast(io.BufferedIOBase, file), "sha256").hexdigest()
    file.seek(0)
    return digest


def _expand(given: str) -> list[Path]:
    path = Path(given).expanduser()
    if path.exists():
        return [path.resolve()]
    found = sorted(Path(one).resolve() for one in glob.glob(str(path), recursive=True))
    if not found:
        raise IebakerError(f"{given}: no such file or folder, and as a pattern it matches nothing")
    return found


def _name(places: Mapping[str, Path], folder: Path) -> str:
    """The name of a root: its own, with a number if another root has it."""
    stem = folder.name or "images"
    number = 1
    name = stem
    while places.get(name, folder) != folder:
        number += 1
        name = f"{stem}-{number}"
    return name


def _below(folder: Path) -> Iterator[Path]:
    """Files in a fixed order, without what starts with a dot."""
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(root) / name


def _add(file: Path, href: str, listed: dict[str, ListedFile], refused: list[tuple[str, str]]) -> None:
    suffix = file.suffix.lower()
    try:
        status = file.stat()
        if suffix in SUFFIXES:
            beside = [Path(place) for place in sidecars(str(file))]
            changed = max([status.st_mtime_ns, *(place.stat().st_mtime_ns for place in beside if place.is_file())])
            listed[href] = ListedFile(href, status.st_size, changed)
        elif suffix == ZIP:
            with zipfile.ZipFile(file) as archive:
                for member in archive.infolist():
                    if PurePosixPath(member.filename).suffix.lower() in SUFFIXES and not _hidden(member.filename):
                        check_relative(member.filename, href)
                        name = f"{href}/{member.filename}"
                        listed[name] = ListedFile(name, member.file_size, status.st_mtime_ns)
    except (IebakerError, NotImplementedError, *UNPACKING_ERRORS) as error:
        refused.append((href, " ".join(str(error).split())))


def _hidden(member: str) -> bool:
    return any(part.startswith((".", "__MACOSX")) for part in PurePosixPath(member).parts)
