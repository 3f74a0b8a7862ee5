"""Data sets that somebody made by mistake or on purpose: acquired and prepared as the stages do."""

import csv
import io
import json
import os
import random
import socket
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from conftest import section
from datasets_builders import NAMES, encoded, karpathy, noise, nwpu, write_csv, write_images, write_source, write_zip
from PIL import Image
from test_datasets_hostile import png_of_48_bits, tiff_of_48_bits

from attack.judge import Case
from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.corpus import manifest
from iebaker.datasets import prepare
from iebaker.datasets.acquire.catalogue import acquire

ODD_VALUES: tuple[Any, ...] = (None, True, 3, -1.5, "", " ", "x" * 100_000, [], {}, [[[]]], "../../x.jpg",
    "/etc/passwd",
                               "C:\\x.jpg", "a\\b.jpg", "a\0b.jpg", "\ud800", "con", "\u202egpj.exe",
                               10**30)  # fmt: skip
PLACES = (("images",), ("images", 0), ("images", 0, "filename"), ("images", 0, "split"), ("images", 0, "sentences"),
          ("images", 0, "sentences", 0), ("images", 0, "sentences", 0, "raw"), ("images", 1, "imgid"))  # fmt: skip
JSON_TEXTS = ("", "[", "{}", "[]", "null", "NaN", '{"images": NaN}', "\ufeff{}", "[" * 100_000,
    '{"images": ' + "9" * 5000 + "}",
              '{"images": [' + "[" * 3000 + "]" * 3000 + "]}", "\0", "<html>", '{"images": []}',
              '{"images": [{}]}')  # fmt: skip
CSV_TEXTS = ("", "filename,title,split\n", "filename;title;split\na;b;test", "filename,title\na,b", "a,b,c\n1,2,3",
             "filename,title,split,split\na,b,test,val", 'filename,title,split\n"a',
             "filename,title,split\na.jpg,x,dev\n",
             "filename,title,split\n../a.jpg,x,test\n",
             "filename,title,split\nairport_1.jpg,x,test\nairport_1.jpg,y,val\n",
             "filename,title,split\n,,\n", "filename,title,split\n" + "x" * 200_000 + ",a,test\n", "\0\0\0", "\r\r\r",
             "filename,title,split\nairport_1.jpg,=cmd()|' /C calc'!A0,test\n",
             "filename,title,split\n\0,\0,test\n")  # fmt: skip


def cases() -> Iterator[Case]:
    """Every attack alone in an otherwise sound data set."""
    for name, content in _images():
        for missing in ("refuse", "exclude"):
            yield Case(f"image {name}, {missing}", partial(_try, partial(_with_image, content), missing=missing))
    for place in PLACES:
        for value in ODD_VALUES if len(place) > 2 else ODD_VALUES[:6]:
            yield Case(f"json {place} = {value!r:.20}", partial(_try, partial(_with_value, place, value)))
    for text in JSON_TEXTS:
        yield Case(f"json text {text[:15]!r}", partial(_try, partial(_with_text, "dataset.json", text)), "refused")
    for text in CSV_TEXTS:
        yield Case(f"csv text {text[:30]!r}", partial(_try, partial(_with_csv, text), missing="exclude"))
    for scene in ("", "..", "/", "a/b", "\0"):
        yield Case(f"nwpu class {scene!r}", partial(_try, partial(_with_class, scene), missing="exclude"))
    for make in PARQUETS:
        yield Case(f"parquet {make.__name__}", partial(_try, make, format="parquet"))
    for make in FILES:
        yield Case(f"files {make.__name__}", partial(_try, make))
    for source in (
        "/nowhere",
        "",
        "~nobody/x",
        "a\0b",
        "/dev/zero",
        "/dev/null",
        "x" * 5000,
        "ftp://h/x",
        "http://[::1",
        "\n",
    ):
        yield Case(f"source {source[:20]!r}", partial(_try, lambda folder: None, source=source), "refused")
    for number in range(1, 3):
        yield Case(f"{number} image a split", partial(_try, partial(_with_few, number)), "done")


def _try(make: Callable[[Path], Any], source: str | None = None, **params: Any) -> None:
    """What the stages locate, download and prepare do."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "source").mkdir()
        make(folder / "source")
        place = str(folder / "source") if source is None else source
        values = BenchmarkParams(source=place, image_size=32, **params) if place.strip() else _refuse(place)
        acquire("mine", values, section(SyntheticParams), folder / "raw/mine", folder / "downloads", folder)
        prepare.prepare(folder / "raw/mine", values, folder / "prepared")
        table = manifest.read(folder / "prepared" / manifest.FILE)
        assert table["caption"].str.len().min() > 0
        assert not [path for path in folder.iterdir() if path.name not in ("source", "raw", "prepared", "downloads")]


def _refuse(place: str) -> Any:
    from iebaker.config.params import parse

    return parse(BenchmarkParams, {"source": place}, "benchmark.mine")


def _images() -> Iterator[tuple[str, bytes]]:
    generator = random.Random(0)
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "BMP"):
        whole = encoded(0, kind)
        for share in (0, 0.02, 0.5, 0.98):
            yield f"{kind} cut at {share}", whole[: int(share * len(whole))]
        flipped = bytearray(whole)
        for _ in range(8):
            flipped[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        yield f"{kind} flipped", bytes(flipped)
        yield f"{kind} zeroed", whole[: len(whole) // 3] + bytes(len(whole) - len(whole) // 3)
    for mode in ("L", "LA", "P", "RGBA", "CMYK", "1", "I;16", "I", "F", "YCbCr", "LAB"):
        buffer = io.BytesIO()
        pixels = noise(0)
        image = (
            Image.fromarray(pixels[..., 0].astype(np.uint16))
            if mode == "I;16"
            else Image.fromarray(pixels).convert(mode)
        )
        image.save(buffer, "TIFF")
        yield f"mode {mode}", buffer.getvalue()
    for width, height in ((1, 1), (1, 30_000), (30_000, 1)):
        yield f"{width} x {height}", encoded(0, "PNG", width, height)
    yield "48-bit png", png_of_48_bits()
    yield "48-bit tiff", tiff_of_48_bits()
    bomb = bytearray(encoded(0, "PNG"))
    bomb[16:24] = struct.pack(">II", 60_000, 60_000)
    yield "decompression bomb", bytes(bomb)
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    yield "html", b"<!doctype html><p>quota exceeded"
    yield "postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(%pipe%touch attacked) (w) file\n"
    yield "git-lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"


def _with_image(content: bytes, folder: Path) -> None:
    write_source(folder)
    (folder / "images/airport_1.jpg").write_bytes(content)


def _with_value(place: tuple[Any, ...], value: Any, folder: Path) -> None:
    annotations: Any = karpathy()
    inner = annotations
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = value
    write_source(folder, annotations)


def _with_text(name: str, text: str, folder: Path) -> None:
    write_source(folder)
    (folder / name).write_text(text)


def _with_csv(text: str, folder: Path) -> None:
    write_images(folder)
    (folder / "my.csv").write_text(text)


def _with_class(scene: str, folder: Path) -> None:
    write_images(folder)
    (folder / "d.json").write_text(json.dumps(nwpu({scene: NAMES})))


def _with_few(number: int, folder: Path) -> None:
    names = {f"{split}_{row}.jpg": split for split in ("train", "val", "test") for row in range(number)}
    write_source(folder, karpathy(names), names)


def _table(**changes: Any) -> pa.Table:
    columns = {"filename": ["a_1.jpg", "b_2.jpg"], "captions": [["one"], ["two", ""]]}
    columns["image"] = [{"bytes": encoded(row), "path": ""} for row in range(2)]
    return pa.table(columns | changes)


def _write(folder: Path, table: pa.Table, name: str = "train-0.parquet") -> None:
    pq.write_table(table, folder / name)


def sound(folder: Path) -> None:
    _write(folder, _table())


def twice(folder: Path) -> None:
    table = _table()
    _write(folder, table.append_column("filename", table.column("filename")))


def without_column(folder: Path) -> None:
    _write(folder, _table().drop_columns(["captions"]))


def text_for_list(folder: Path) -> None:
    _write(folder, _table(captions=["one", "two"]))


def nulls(folder: Path) -> None:
    _write(folder, _table(filename=pa.array([None, "b"], pa.string())))


def no_bytes(folder: Path) -> None:
    _write(folder, _table(image=[{"bytes": None, "path": "x"}, {"bytes": b"", "path": "y"}]))


def unknown_split(folder: Path) -> None:
    _write(folder, _table(), "everything.parquet")


def cut(folder: Path) -> None:
    sound(folder)
    file = folder / "train-0.parquet"
    file.write_bytes(file.read_bytes()[:-40])


def no_parquet(folder: Path) -> None:
    (folder / "train-0.parquet").write_bytes(b"PAR1" * 9)


def no_rows(folder: Path) -> None:
    _write(folder, _table().slice(0, 0))


def names_that_climb(folder: Path) -> None:
    _write(folder, _table(filename=["../../a.jpg", "/b.jpg"]))


PARQUETS = (sound, twice, without_column, text_for_list, nulls, no_bytes, unknown_split, cut, no_parquet, no_rows,
            names_that_climb)  # fmt: skip


def pipe(folder: Path) -> None:
    os.mkfifo(write_source(folder) / "images/x.jpg")


def pipe_for_annotations(folder: Path) -> None:
    os.mkfifo(write_source(folder) / "more.json")


def device(folder: Path) -> None:
    (write_source(folder) / "images/x.jpg").symlink_to("/dev/zero")


def listening(folder: Path) -> None:
    socket.socket(socket.AF_UNIX).bind(str(write_source(folder) / "s.jpg"))


def circle(folder: Path) -> None:
    (write_source(folder) / "images/again").symlink_to(folder)


def broken_link(folder: Path) -> None:
    (write_source(folder) / "images/x.jpg").symlink_to("/nowhere")


def folder_named_like_an_image(folder: Path) -> None:
    (write_source(folder) / "images/x.jpg").mkdir()


def name_with_line_feed(folder: Path) -> None:
    (write_source(folder) / "images/a\nb.jpg").write_bytes(encoded(9))


def name_that_is_no_text(folder: Path) -> None:
    (write_source(folder) / os.fsdecode(b"images/\xff\xfe.jpg")).write_bytes(encoded(9))


def file_managers(folder: Path) -> None:
    for name in (".DS_Store", "images/.DS_Store", "images/._airport_1.jpg", "images/Thumbs.db", "__MACOSX/x.json"):
        (write_source(folder) / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"\0")


def two_annotations(folder: Path) -> None:
    (write_source(folder) / "copy.json").write_text(json.dumps(karpathy()))


def _packed(folder: Path, members: dict[str, bytes], damage: str = "") -> None:
    (write_source(folder) / "images/airport_1.jpg").unlink()
    write_zip(folder / "more.zip", members, damage)


def zip_that_climbs(folder: Path) -> None:
    _packed(folder, {"../../airport_1.jpg": encoded(0)})


def zip_with_absolute_names(folder: Path) -> None:
    _packed(folder, {"/airport_1.jpg": encoded(0)})


def zip_encrypted(folder: Path) -> None:
    _packed(folder, {"airport_1.jpg": encoded(0)}, "encrypted")


def zip_of_unknown_method(folder: Path) -> None:
    _packed(folder, {"airport_1.jpg": encoded(0)}, "method")


def zip_spoiled(folder: Path) -> None:
    _packed(folder, {"airport_1.jpg": encoded(0)}, "content")


def zip_that_is_a_page(folder: Path) -> None:
    (write_source(folder) / "more.zip").write_text("<!doctype html>")


def zip_bomb(folder: Path) -> None:
    (write_source(folder) / "images/airport_1.jpg").unlink()
    with (
        zipfile.ZipFile(folder / "more.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("airport_1.jpg", "w") as member,
    ):
        for _ in range(1 << 10):
            member.write(bytes(1 << 20))


def _tar(folder: Path, member: tarfile.TarInfo) -> None:
    write_source(folder)
    with tarfile.open(folder / "more.tar", "w") as archive:
        archive.addfile(member)


def tar_that_climbs(folder: Path) -> None:
    _tar(folder, tarfile.TarInfo("../../../outside"))


def tar_with_a_link_out(folder: Path) -> None:
    member = tarfile.TarInfo("link")
    member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
    _tar(folder, member)


def tar_with_a_device(folder: Path) -> None:
    member = tarfile.TarInfo("zero.jpg")
    member.type, member.devmajor, member.devminor = tarfile.CHRTYPE, 1, 5
    _tar(folder, member)


def tar_cut(folder: Path) -> None:
    (write_source(folder) / "more.tar.gz").write_bytes(b"\x1f\x8b\x08" + bytes(40))


def rar(folder: Path) -> None:
    (write_source(folder) / "images.rar").write_bytes(b"Rar!\x1a\x07\x01\x00")


def sparse_image(folder: Path) -> None:
    with (write_source(folder) / "images/airport_1.jpg").open("wb") as file:
        file.truncate(1 << 29 | 1)


def many_captions(folder: Path) -> None:
    write_images(folder)
    write_csv(folder / "my.csv", [("airport_1.jpg", f"caption {row}", "train") for row in range(20_000)])


def long_field(folder: Path) -> None:
    write_images(folder)
    with (folder / "my.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([("filename", "title", "split"), ("airport_1.jpg", "x" * 500_000, "train")])


FILES = (pipe, pipe_for_annotations, device, listening, circle, broken_link, folder_named_like_an_image,
    name_with_line_feed,
         name_that_is_no_text, file_managers, two_annotations, zip_that_climbs, zip_with_absolute_names, zip_encrypted,
         zip_of_unknown_method, zip_spoiled, zip_that_is_a_page, zip_bomb, tar_that_climbs, tar_with_a_link_out,
         tar_with_a_device, tar_cut, rar, sparse_image, many_captions, long_field)  # fmt: skip
