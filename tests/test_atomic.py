"""What a full disk and missing rights do to writers: one line that names the place, and nothing half written."""

import errno
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from iebaker import atomic
from iebaker.atomic import replacing, replacing_file, write_text
from iebaker.errors import OUT_OF_MEMORY, IebakerError, explained

LARGE = np.random.default_rng(0).random(1 << 19)
WRITERS = {
    "torch": lambda path: torch.save({"a": torch.from_numpy(LARGE)}, path),
    "safetensors": lambda path: save_file({"a": torch.from_numpy(LARGE)}, path),
    "numpy": lambda path: np.save(path.open("wb"), LARGE),
    "parquet": lambda path: pd.DataFrame({"a": LARGE}).to_parquet(path),
    "text": lambda path: path.write_text("x" * (4 << 20)),
}


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A disk of 1 MiB."""
    folder = tmp_path_factory.mktemp("disk")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("a small disk can be mounted by root only")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.mark.parametrize("writer", WRITERS)
def test_a_full_disk_is_named_whatever_the_library_says(writer, full):
    with (
        pytest.raises(IebakerError, match="/wanted: the disk is full; make room"),
        replacing_file(full / "wanted") as to,
    ):
        WRITERS[writer](to)
    with (
        pytest.raises(IebakerError, match="/wanted: the disk is full; make room"),
        replacing(full / "wanted") as folder,
    ):
        WRITERS[writer](folder / "file")
    assert list(full.iterdir()) == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_missing_rights_are_named(number, tmp_path):
    with (
        pytest.raises(IebakerError, match=f"^/there/x: {os.strerror(number)}; .*(mount|chown)"),
        replacing(tmp_path / "a"),
    ):
        raise OSError(number, os.strerror(number), "/there/x")


def test_a_normal_user_is_told_which_folder(tmp_path):
    code = f"""
import os
from pathlib import Path
from iebaker.atomic import write_text
from iebaker.errors import IebakerError
os.setuid(65534)  # after the imports: the interpreter may lie where only root reads
try:
    write_text(Path({str(tmp_path / "of_root/file")!r}), "x")
except IebakerError as error:
    print(error)
"""
    (tmp_path / "of_root").mkdir(mode=0o755)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    if os.getuid():
        pytest.skip("only root can become somebody else")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert said.stdout.startswith(str(tmp_path / "of_root/")) and "Permission denied; you may not" in said.stdout


def test_bugs_stay_bugs(tmp_path):
    with pytest.raises(RuntimeError, match="a bug"), replacing_file(tmp_path / "x"):
        raise RuntimeError("a bug")
    assert explained(RuntimeError("a bug")) is None and explained(KeyError("x")) is None
    write_text(tmp_path / "x", "fine")
    assert (tmp_path / "x").read_text() == "fine" and atomic.ROOM < 1 << 21


def test_a_message_that_quotes_a_book_is_shortened():
    said = explained(IebakerError("a.json: " + "x" * 10**6 + "; correct it"))
    assert len(said) < 2010 and said.startswith("a.json: xx") and said.endswith("xx; correct it")


def test_no_memory_is_one_line():
    for make in (lambda: np.empty(1 << 60, np.uint8), lambda: torch.empty(1 << 60, dtype=torch.uint8)):
        with pytest.raises((MemoryError, RuntimeError)) as raised:
            make()
        assert explained(raised.value) == OUT_OF_MEMORY
