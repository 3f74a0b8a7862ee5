"""Local places: folders and files of the user, listed at every run and copied when the listing changes."""

import os
import shutil
import stat
from pathlib import Path

from tqdm import tqdm

from iebaker.config.sources import Layout
from iebaker.datasets.acquire.archives import refuse_foreign
from iebaker.datasets.origin import ORIGIN_FILE
from iebaker.errors import IebakerError


def path_of(place: str, base: Path) -> Path:
    """The path of a local place, below `base` if it is relative; IebakerError for what can be none."""
    try:
        path = base / Path(place).expanduser()
        os.path.realpath(path)
    except (ValueError, RuntimeError) as error:  # a NUL byte, a home that nobody has
        raise IebakerError(f"{place!r} is no path ({error}); correct it") from error
    return path


def lies_in(place: Path, folder: Path) -> bool:
    """Whether `place` is in `folder`: what it leads to, or itself where it is a link."""
    ways = (Path(os.path.realpath(place)), Path(os.path.realpath(place.parent)) / place.name)
    return any(way.is_relative_to(os.path.realpath(folder)) for way in ways)


def listing(source: Path, layout: Layout) -> dict[str, str]:
    """Every file that would be copied, by its name relative to the source: bytes and time of change (ns).

    Raises:
        IebakerError: if the source is away, an archive that is not read, or holds what is no file.
    """
    found = {}
    for file in files_of(source, layout):
        status = file.stat()
        name = file.relative_to(source).as_posix() if source.is_dir() else file.name
        found[name] = f"{status.st_size} {status.st_mtime_ns}"
    return dict(sorted(found.items()))


def files_of(source: Path, layout: Layout) -> list[Path]:
    """The files of a source: itself, or of a folder the two things that the layout names, else everything below it."""
    try:
        kind = source.stat().st_mode
    except (OSError, ValueError) as error:
        raise IebakerError(f"{source} does not exist; correct the path (it would be {source.absolute()})") from error
    if not stat.S_ISDIR(kind):
        if not stat.S_ISREG(kind):
            raise IebakerError(f"{source} is neither a file nor a folder; correct the path")
        refuse_foreign(source)
        return [source]
    roots = [source / layout.annotations, source / layout.images] if layout.annotations and layout.images else [source]
    roots = [root for root in roots if root.exists()] or [source]
    found = [file for root in roots for file in ([root] if root.is_file() else _below(root))]
    if not found:
        raise IebakerError(f"{source} is an empty folder; put the files into it, or correct the path")
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[Path]:
    """All files below a folder, sorted, links followed; IebakerError for a link that leads nowhere or in circles."""
    files: list[Path] = []
    for top, folders, names in os.walk(folder, followlinks=True):
        for path in (Path(top) / name for name in (*folders, *names)):
            if path.is_symlink():
                _check_link(path)
            if not path.is_dir() and not path.is_file():
                raise IebakerError(f"{path} is a pipe, socket or device, no file; remove it")
        files.extend(Path(top) / name for name in names if name != ORIGIN_FILE)
    return sorted(files)


def _check_link(path: Path) -> None:
    """Raise IebakerError for a link that is not there or leads to a folder around it."""
    if not path.exists():
        raise IebakerError(f"{path} is a link to {path.readlink()}, which is not there; mend or remove it")
    if path.is_dir() and any(path.samefile(parent) for parent in path.absolute().parents):
        raise IebakerError(f"{path} is a link to {path.readlink()}, a folder that it lies in; remove it")


def copy(source: Path, layout: Layout, folder: Path) -> None:
    """Copy a file, or a folder's content, into `folder`."""
    files = files_of(source, layout)
    for file in tqdm(files, desc=f"copy {source.name}", unit="file", disable=len(files) < 100):
        put(file, folder / (file.relative_to(source) if source.is_dir() else file.name))


def put(file: Path, target: Path, link: bool = False) -> None:
    """Copy `file` (content only, so that no read-only flag comes along), or hard link it where that works.

    Raises:
        IebakerError: if two places give a file of the same name.
    """
    if target.exists():
        raise IebakerError(f"{target.name}: an earlier place gives a file of the same name; rename one of them")
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        try:
            os.link(file, target)
            return
        except OSError:
            pass  # another file system: copy
    shutil.copyfile(file, target)
