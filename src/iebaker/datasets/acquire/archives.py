"""Archives: what is none is refused, zips stay packed, split zips are joined, tars are unpacked without leaving."""

import re
import shutil
import struct
import tarfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from iebaker.datasets.files import UNPACKING_ERRORS
from iebaker.errors import IebakerError

TARS = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
# by the end of the name: how to unpack what is not read here
BY_HAND = {
    ".rar": "unrar x {file} {folder}/",
    ".7z": "7z x {file} -o{folder}",
    ".gz": "gunzip -k {file}",
    ".xz": "unxz -k {file}",
    ".bz2": "bunzip2 -k {file}",
}
STARTS = {
    ".parquet": (b"PAR1",), ".gz": (b"\x1f\x8b",), ".tgz": (b"\x1f\x8b",), ".xz": (b"\xfd7zXZ\0",),
    ".txz": (b"\xfd7zXZ\0",), ".bz2": (b"BZh",), ".tbz2": (b"BZh",), ".json": (b"{", b"["),
}  # fmt: skip
WEB_PAGE = (b"<!doctype html", b"<html")
POINTER = b"version https://git-lfs"
VOLUME = re.compile(r"\.z(\d\d)$", re.IGNORECASE)
# a zip's directory: one record a member, then the end record (APPNOTE 4.3.12, 4.3.16)
MEMBER = struct.Struct("<4s6H3I5H2I")
END = struct.Struct("<4s4H2IH")


def check_room(folder: Path, wanted: int) -> None:
    """Raise IebakerError where the disk has no room for so many bytes."""
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise IebakerError(f"{wanted / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free on this disk; make room")


def is_tar(name: str) -> bool:
    """Whether it is unpacked here."""
    return name.lower().endswith(TARS)


def refuse_foreign(file: Path) -> None:
    """Raise IebakerError, with the command that unpacks it, for an archive that is not read."""
    if is_tar(file.name):
        return
    for ending, command in BY_HAND.items():
        if file.name.lower().endswith(ending):
            done = command.format(file=file, folder=file.with_suffix(""))
            raise IebakerError(
                f"{file}: {ending} is not read; unpack it ({done}) and give what comes out as the source"
            )


def check_start(file: Path, name: str) -> None:
    """Raise IebakerError for a file that cannot be what its name says: an empty one, a web page, a git-lfs pointer."""
    with file.open("rb") as stream:
        start = stream.read(64).removeprefix(b"\xef\xbb\xbf").lstrip()
    if not start:
        raise IebakerError(f"{name}: the file is empty")
    ending = Path(name).suffix.lower()
    if start.lower().startswith(WEB_PAGE) and ending not in (".html", ".htm"):
        raise IebakerError(f"{name}: a web page, not the file: a login, a notice, or a quota")
    if start.startswith(POINTER):
        raise IebakerError(f"{name}: a Git LFS pointer, not the file")
    # a zip is told by its end: the last volume of a split one starts anyhow
    fits = zipfile.is_zipfile(file) if ending == ".zip" else start.startswith(STARTS.get(ending, (b"",)))
    if not fits:
        raise IebakerError(f"{name}: not a {ending} file, or not all of one")


def unpack(folder: Path) -> None:
    """Unpack the tars of a folder, each into a folder of its own name, and join its split zips.

    Raises:
        IebakerError: for a damaged archive, or one with links that lead out, devices, or more than the disk can hold.
    """
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if is_tar(file.name):
            _unpack_tar(file)
        elif file.suffix.lower() == ".zip" and (volumes := _volumes(file)):
            _join(volumes, file)


def _unpack_tar(file: Path) -> None:
    """Replace a tar by a folder of the same name."""
    packed = file.rename(file.with_name(f".{file.name}.packed"))
    file.mkdir()
    try:
        with tarfile.open(packed, "r:*") as archive:
            for member in archive:
                check_room(file, member.size)
                archive.extract(member, file, filter="data")
            while archive.fileobj.read(1 << 20):  # to the end, where a compressed one has its checksum
                pass
    except IebakerError:
        raise
    except (tarfile.TarError, *UNPACKING_ERRORS) as error:
        raise IebakerError(f"{file.name}: cannot be unpacked ({error}); get it again, or unpack it by hand") from error
    packed.unlink()


def _volumes(last: Path) -> list[Path]:
    """All volumes of a split zip in order, empty for a whole one; IebakerError if one is missing."""
    beside = [path for path in last.parent.iterdir() if path.stem == last.stem and VOLUME.search(path.name)]
    if not beside:
        return []
    numbered = {int(found[1]): path for path in beside if (found := VOLUME.search(path.name))}
    if absent := sorted(set(range(1, max(numbered) + 1)) - set(numbered)):
        raise IebakerError(f"{last.name}: its volume {last.stem}.z{absent[0]:02} is missing; add it to the source")
    return [*(numbered[number] for number in sorted(numbered)), last]


def _join(volumes: list[Path], last: Path) -> None:
    """Replace the volumes of a split zip by one whole zip; what its directory counts within a volume counts from 0."""
    begins = [0]
    joined = last.with_name(f".{last.name}.joined")
    with joined.open("wb") as whole:
        for volume in volumes:
            with volume.open("rb") as stream:
                shutil.copyfileobj(stream, whole)
            begins.append(whole.tell())
    try:
        with joined.open("r+b") as whole:
            _renumber(whole, begins)
    except (struct.error, IndexError, ValueError) as error:
        command = f"zip -s 0 {last.name} --out whole.zip"
        raise IebakerError(f"{last.name}: its volumes do not fit together ({error}); join them ({command})") from error
    for volume in volumes:
        volume.unlink()
    joined.rename(last)


def _renumber(whole: BinaryIO, begins: list[int]) -> None:
    """Rewrite the directory of joined volumes, which begin at these bytes, as that of a single file."""
    tail_start = max(0, begins[-1] - END.size - (1 << 16))
    whole.seek(tail_start)
    tail = whole.read()
    found = tail.rfind(b"PK\5\6")
    if found < 0:
        raise ValueError("no end of a zip")
    signature, disk, first, _, count, size, offset, comment = END.unpack_from(tail, found)
    if disk != len(begins) - 2:
        raise ValueError(f"{disk + 1} volumes, {len(begins) - 1} are there")
    if begins[-1] >= 1 << 32 or count == 0xFFFF:
        raise ValueError("more than 4 GB or 65,534 members")
    directory = begins[first] + offset
    whole.seek(directory)
    records = bytearray(whole.read(size))
    position = 0
    for _ in range(count):
        fields = list(MEMBER.unpack_from(records, position))
        if fields[0] != b"PK\1\2":
            raise ValueError("a damaged directory")
        fields[16], fields[13] = begins[fields[13]] + fields[16], 0
        MEMBER.pack_into(records, position, *fields)
        position += MEMBER.size + sum(fields[10:13])
    whole.seek(directory)
    whole.write(records)
    whole.seek(tail_start + found)
    whole.write(END.pack(signature, 0, 0, count, count, size, directory, comment))
