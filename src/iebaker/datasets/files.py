"""The files of a raw benchmark, looking through zip archives as if they were folders."""

import io
import lzma
import os
import re
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from iebaker.errors import IebakerError

# what reading a damaged, encrypted (RuntimeError) or exotically packed (NotImplementedError) member can raise
UNPACKING_ERRORS = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError)


def check_relative(name: str, where: str) -> None:
    """Refuse a file name that could leave the folder it belongs to.

    Raises:
        IebakerError: for absolute names, drive letters, backslashes and '..'.
    """
    path = PurePosixPath(name)
    if not path.parts or path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:|.*\\", name):
        raise IebakerError(f"{where}: file name {name!r} is not a plain relative path; correct the source")


class RawFiles:
    """All files below a folder, by relative name; members of a zip are named `archive.zip/member`.

    Archives stay packed: one large file is faster to copy, hash and cache than tens of thousands of small ones.

    Raises:
        IebakerError: for a damaged zip, or one whose members would leave the folder.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._archives: dict[str, zipfile.ZipFile] = {}
        self._places: dict[str, tuple[str, str]] = {}
        for root, folders, names in os.walk(folder, followlinks=True):
            folders.sort()
            for name in sorted(names):
                self._add((Path(root) / name).relative_to(folder).as_posix())

    def _add(self, name: str) -> None:
        if not name.lower().endswith(".zip"):
            self._places[name] = ("", name)
            return
        try:
            archive = self._archives[name] = zipfile.ZipFile(self.folder / name)
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise IebakerError(
                f"{name}: not a readable zip ({error}). Links of file lockers often give a web page instead; "
                "download it by hand and make `source` that file"
            ) from error
        for member in archive.infolist():
            check_relative(member.filename, name)
            if not member.is_dir():
                self._places[f"{name}/{member.filename}"] = (name, member.filename)

    @property
    def names(self) -> list[str]:
        """Names of all files, without those that operating systems hide (`.DS_Store`, `__MACOSX/`)."""
        return [name for name in self._places if not re.search(r"(^|/)(\.|__MACOSX)", name)]

    def named(self, wanted: str) -> list[str]:
        """Files that are `wanted` or lie in a folder or zip of that name, at any depth; '' gives all."""
        wanted = wanted.strip("/")
        return [name for name in self.names if not wanted or f"/{wanted}/" in f"/{name}/"]

    def read(self, name: str) -> bytes:
        """The content of one file.

        Raises:
            IebakerError: if a zip does not give it: damaged, encrypted, or packed by an unknown method.
        """
        archive, member = self._places[name]
        if not archive:
            return (self.folder / member).read_bytes()
        try:
            return self._archives[archive].read(member)
        except UNPACKING_ERRORS as error:
            raise IebakerError(f"{name}: cannot be read ({error}); unpack the zip by hand, or get it again") from error

    def open(self, name: str) -> BinaryIO:
        """One file for random access; a packed one is held in memory."""
        archive, member = self._places[name]
        return io.BytesIO(self.read(name)) if archive else (self.folder / member).open("rb")
