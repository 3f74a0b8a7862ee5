"""Writing files and folders whole: a kill leaves the old one or the new one, never half of one.

What is written lies under a temporary name beside its destination, which DVC and readers of folders leave out, and is
renamed at the end. Destinations may be hard
links into DVC's cache: renaming leaves the cached file as it is.
"""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from iebaker.errors import REMEDIES, IebakerError, explained

ROOM = 2**20  # bytes; with fewer, whatever went wrong while writing did so for want of them


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `destination` if the block succeeds and vanishes if not."""
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run
    try:
        with _explaining(destination):
            partial.mkdir(parents=True)
            yield partial
            shutil.rmtree(destination, ignore_errors=True)
            partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing_file(destination: Path) -> Iterator[Path]:
    """A path to write, which takes the place of the file `destination` if the block succeeds and vanishes if not."""
    # two processes may write the same file
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        with _explaining(destination):
            destination.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.replace(destination)
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_text(destination: Path, text: str) -> None:
    """Write a UTF-8 file whole, and the folders above it."""
    with replacing_file(destination) as partial:
        partial.write_text(text, encoding="utf-8")


@contextmanager
def _explaining(destination: Path) -> Iterator[None]:
    """Turn what a full disk or a missing right does to a writer into an IebakerError that names the place.

    Libraries have their own exceptions for it, some of which say nothing ("basic_ios::clear: iostream error").
    """
    try:
        yield
    except IebakerError:
        raise
    except Exception as error:
        if _is_full(error, destination):
            raise IebakerError(f"{destination}: the disk is full; {REMEDIES[errno.ENOSPC]}") from error
        if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise IebakerError(explained(error, destination)) from error
        raise


def _is_full(error: Exception, destination: Path) -> bool:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if os.strerror(errno.ENOSPC) in str(error):  # safetensors removes what it has written before it says so
        return True
    folder = next((parent for parent in destination.absolute().parents if parent.is_dir()), None)
    return folder is not None and shutil.disk_usage(folder).free < ROOM
