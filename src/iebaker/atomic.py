"""Writing files and folders whole: a kill leaves the old one or the new one, never half of one.

What is written lies under a temporary name beside its destination, which DVC and readers of folders leave out, and is
renamed at the end. Destinations may be hard
links into DVC's cache: renaming leaves the cached file as it is.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(destination: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `destination` if the block succeeds and vanishes if not."""
    partial = destination.with_name(f".{destination.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed run
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(destination, ignore_errors=True)
        partial.rename(destination)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def replacing_file(destination: Path) -> Iterator[Path]:
    """A path to write, which takes the place of the file `destination` if the block succeeds and vanishes if not."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    # two processes may write the same file
    partial = destination.with_name(f".{destination.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(destination)
    finally:
        partial.unlink(missing_ok=True)


def write_text(destination: Path, text: str) -> None:
    """Write a UTF-8 file whole, and the folders above it."""
    with replacing_file(destination) as partial:
        partial.write_text(text, encoding="utf-8")
