"""What no published data set holds, and somebody's folder may: one line each, without hanging or filling memory."""

import io
import json
import os
import struct
import zipfile
import zlib

import pytest
from datasets_builders import karpathy, write_source
from PIL import Image
from test_datasets_formats import read, write_parquet

from iebaker import images
from iebaker.config.params import BenchmarkParams
from iebaker.datasets import files, formats, prepare
from iebaker.errors import IebakerError


def png_of_48_bits(side: int = 8) -> bytes:
    """A PNG of 16 bits a channel with values of 12 bits, as sensors give them."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", side, side, 16, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + struct.pack(">H", 4095) * 3 * side) * side)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def tiff_of_48_bits(side: int = 8) -> bytes:
    """A little-endian TIFF of three bands of 16 bits."""
    pixels = struct.pack("<H", 4095) * 3 * side * side
    bits = struct.pack("<3H", 16, 16, 16)
    entries = [(256, 3, 1, side), (257, 3, 1, side), (258, 3, 3, 8 + len(pixels)), (259, 3, 1, 1), (262, 3, 1, 2),
               (273, 4, 1, 8), (277, 3, 1, 3), (278, 3, 1, side), (279, 4, 1, len(pixels)), (284, 3, 1, 1)]  # fmt: skip
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    start = 8 + len(pixels) + len(bits)
    return struct.pack("<2sHI", b"II", 42, start) + pixels + bits + struct.pack("<H", len(entries)) + table + b"\0" * 4


@pytest.mark.parametrize("content", [png_of_48_bits(), tiff_of_48_bits()], ids=["png", "tiff"])
def test_coloured_pixels_of_16_bits_are_refused(content):
    assert Image.open(io.BytesIO(content)).mode == "RGB"  # Pillow says nothing
    with pytest.raises(IebakerError, match="16-bit .*convert to 8 bits"):
        images.decode(io.BytesIO(content))


DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (DEEP, "d.json: lists or objects nested too deeply"),
        ('{"images": ' + DEEP + "}", "d.json: lists or objects nested too deeply"),
        ('{"images": ' + "9" * 5000 + "}", "d.json: a number that is none"),
    ],
)
def test_json_that_python_does_not_read(content, message, tmp_path):
    write_source(tmp_path)
    (tmp_path / "dataset.json").rename(tmp_path / "d.json")
    (tmp_path / "d.json").write_text(content)
    for params in ({}, {"format": "karpathy"}):
        with pytest.raises(IebakerError, match=message):
            read(tmp_path, **params)


def test_parquet_with_a_column_twice(tmp_path):
    import pyarrow.parquet as pq

    write_parquet(tmp_path / "data/train-0.parquet", [("a_1.jpg", b"x")])
    table = pq.read_table(tmp_path / "data/train-0.parquet")
    pq.write_table(table.append_column("filename", table.column("filename")), tmp_path / "data/train-0.parquet")
    with pytest.raises(IebakerError, match="the column `filename` is there twice"):
        read(tmp_path, format="parquet")


def make_pipe(path):
    os.mkfifo(path)


def make_device(path):
    path.symlink_to("/dev/zero")


def make_circle(path):
    path.symlink_to(path.parent)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("make", [make_pipe, make_device, make_circle])
@pytest.mark.parametrize("name", ["images/odd.jpg", "odd.json"])
def test_what_is_no_file_is_refused_before_it_is_opened(make, name, tmp_path):
    write_source(tmp_path)
    make(tmp_path / name)
    with pytest.raises(IebakerError, match=f"{name}: .*remove it"):
        read(tmp_path)


def test_a_member_that_unpacks_to_gigabytes_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "LARGEST", 10_000)
    write_source(tmp_path)
    (tmp_path / "images/airport_1.jpg").unlink()
    with zipfile.ZipFile(tmp_path / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("airport_1.jpg", b"\0" * 10_001)
    [bomb, *_] = formats.read(BenchmarkParams(source="local"), tmp_path).images
    assert "unpacks to 0 MB" in str(prepare.read_content(bomb))
    (tmp_path / "images.zip").unlink()
    with (tmp_path / "images/airport_1.jpg").open("wb") as sparse:
        sparse.truncate(10_001)
    [large, *_] = formats.read(BenchmarkParams(source="local"), tmp_path).images
    assert "of any image" in str(prepare.read_content(large))


def test_pixels_that_the_disk_cannot_hold_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    source = write_source(tmp_path / "source", karpathy())
    monkeypatch.setattr(prepare, "decode_all", lambda *_: pytest.fail("decoded"))
    monkeypatch.setattr(files.shutil, "disk_usage", lambda _: type("", (), {"free": 4 * 32 * 32 * 3 - 1}))
    with pytest.raises(IebakerError, match="MB are needed"):
        prepare.prepare(source, BenchmarkParams(source="local", image_size=32), tmp_path / "out")


def test_annotations_of_a_few_kilobytes_still_read(tmp_path):
    nested = karpathy()
    nested["info"] = json.loads("[" * 50 + "]" * 50)
    assert len(read(write_source(tmp_path, nested)).images) == 4
