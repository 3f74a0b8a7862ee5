"""Preparing: pixels, hashes and manifest against plain Pillow, numpy and imagehash; the same bytes on every run."""

import hashlib
import io
import json

import imagehash
import numpy as np
import pandas as pd
import pytest
from datasets_builders import encoded, karpathy, noise, write_source, write_zip
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from iebaker import images
from iebaker.config.params import BenchmarkParams
from iebaker.corpus import manifest
from iebaker.datasets import formats, prepare
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError


def run(tmp_path, source, name="prepared", **params):
    summary = prepare.prepare(source, BenchmarkParams(source="local", **{"image_size": 32, **params}), tmp_path / name)
    return summary, manifest.read(tmp_path / name / "manifest.parquet"), np.load(tmp_path / name / "pixels.npy")


def test_manifest_pixels_and_summary(tmp_path):
    summary, table, pixels = run(tmp_path, write_source(tmp_path / "source"))
    assert table["image_id"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3] and table["caption_id"].tolist() == list(range(8))
    assert table["caption"][2] == "caption 0 of port_2.jpg ."
    assert table["scene"].tolist()[::2] == ["airport", "port", "", "river"]
    assert pixels.shape == (4, 32, 32, 3) and pixels.dtype == np.uint8
    for row in table.itertuples():
        image = Image.open(tmp_path / "source/images" / row.filename)
        assert np.array_equal(pixels[row.image_id], np.asarray(image))
        assert row.phash == int(str(imagehash.phash(image)), 16)
    assert summary == json.loads((tmp_path / "prepared/summary.json").read_text())
    assert summary["images"] == {"train": 2, "val": 1, "test": 1} and summary["captions"]["train"] == 4
    assert summary["pixels_sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()
    assert summary["manifest_sha256"] == manifest.digest(table)
    assert summary["exclusions"] == [] and summary["excluded"] == {}


def test_same_bytes_on_every_run_and_nothing_else_left(tmp_path):
    source = write_source(tmp_path / "source")
    run(tmp_path, source, "first")
    run(tmp_path, source, "second")
    run(tmp_path, source, "second")
    for file in ("manifest.parquet", "pixels.npy", "summary.json"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["first", "second", "source"]


def damaged_source(folder):
    write_source(folder)
    (folder / "images/airport_1.jpg").write_bytes(encoded(0)[:-200])
    (folder / "images/river_4.jpg").write_text("<!DOCTYPE html>")
    return folder


def test_unreadable_images_are_refused_by_name(tmp_path):
    with pytest.raises(
        IebakerError, match=r"unreadable image: airport_1\.jpg \[dataset\.json, images\[0\].*truncated.*river_4"
    ):
        run(tmp_path, damaged_source(tmp_path / "source"))
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_unreadable_images_are_excluded_and_counted(tmp_path):
    summary, table, pixels = run(tmp_path, damaged_source(tmp_path / "source"), missing="exclude")
    assert summary["excluded"] == {"unreadable image": 2}
    assert [item["filename"] for item in summary["exclusions"]] == ["airport_1.jpg", "river_4.jpg"]
    assert summary["exclusions"][1]["detail"] == "cannot identify image file"
    # what remains moves up, in the array and in the manifest alike
    assert table["filename"].unique().tolist() == ["port_2.jpg", "00003.jpg"] and pixels.shape[0] == 2
    assert np.array_equal(pixels[1], np.asarray(Image.open(tmp_path / "source/images/00003.jpg")))
    assert summary["pixels_sha256"] == hashlib.sha256(pixels.tobytes()).hexdigest()


def test_no_readable_image_at_all(tmp_path):
    source = write_source(tmp_path / "source")
    for image in (source / "images").iterdir():
        image.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(
        IebakerError, match=r"no readable image; the first: unreadable image: airport_1\.jpg \[.*\] cannot ident"
    ):
        run(tmp_path, source, missing="exclude")
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


@pytest.mark.parametrize(
    ("mode", "kind"), [(np.uint16, "PNG"), (np.uint16, "TIFF"), (np.int32, "TIFF"), (np.float32, "TIFF")]
)
def test_pixels_of_more_than_8_bits_are_unreadable(tmp_path, mode, kind):
    source = write_source(tmp_path / "source")
    Image.fromarray((noise(0)[..., 0] * 200.0).astype(mode)).save(source / "images/airport_1.jpg", kind)
    with pytest.raises(
        IebakerError, match=r"unreadable image: airport_1\.jpg .*16-bit or float pixels .*convert to 8 bits"
    ):
        run(tmp_path, source)
    assert run(tmp_path, source, missing="exclude")[0]["excluded"] == {"unreadable image": 1}


def test_image_too_large_to_decode(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1024)
    source = write_source(tmp_path / "source")
    (source / "images/airport_1.jpg").write_bytes(encoded(0, width=50, height=41))
    with pytest.raises(IebakerError, match=r"unreadable image: airport_1\.jpg .*2050 pixels.* exceeds limit"):
        run(tmp_path, source)


@pytest.mark.parametrize("damage", ["encrypted", "method", "content"])
def test_images_that_the_zip_does_not_give(tmp_path, damage):
    source = tmp_path / "source"
    source.mkdir()
    (source / "d.json").write_text(json.dumps(karpathy()))
    good, *bad = karpathy()["images"]
    write_zip(source / "a.zip", {good["filename"]: encoded(0)})
    write_zip(source / "b.zip", {image["filename"]: encoded(1) for image in bad}, damage)
    with pytest.raises(
        IebakerError, match=r"unreadable image: port_2\.jpg \[d\.json.*b\.zip/port_2\.jpg: cannot be read"
    ):
        run(tmp_path, source)
    assert run(tmp_path, source, missing="exclude")[0]["excluded"] == {"unreadable image": 3}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(orientation, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    image, buffer = Image.fromarray(noise(0)), io.BytesIO()
    image.save(buffer, kind, exif=exif)
    # what each value means, after the standard: where the stored rows and columns begin
    turned = [
        lambda pixels: pixels,
        lambda pixels: pixels[:, ::-1],
        lambda pixels: pixels[::-1, ::-1],
        lambda pixels: pixels[::-1],
        lambda pixels: pixels.swapaxes(0, 1),
        lambda pixels: np.rot90(pixels, -1),
        lambda pixels: pixels[::-1, ::-1].swapaxes(0, 1),
        lambda pixels: np.rot90(pixels, 1),
    ][orientation - 1](noise(0))
    pixels, phash = prepare.decode(buffer.getvalue(), 32)
    assert pixels == turned.tobytes() and phash == prepare.perceptual_hash(Image.fromarray(turned.copy()))


@pytest.mark.parametrize("exif", [b"garbage garbage", b"II", b""])
def test_broken_exif_costs_no_image(exif):
    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "JPEG", exif=b"Exif\0\0" + exif)
    assert prepare.decode(buffer.getvalue(), 32)[0] == np.asarray(Image.open(buffer)).tobytes()


def test_strips_are_cut_before_they_grow(monkeypatch):
    sizes, resize = [], Image.Image.resize
    monkeypatch.setattr(
        Image.Image, "resize", lambda self, size, *rest: sizes.append(size) or resize(self, size, *rest)
    )
    rows = np.zeros((65000, 1, 3), np.uint8)
    rows[32400:32600] = 200
    assert (np.asarray(images.square(Image.fromarray(rows), 64)) == 200).all()
    assert max(max(size) for size in sizes) <= 64 * images.STRIP


@given(st.integers(1, 40), st.integers(1, 20), st.booleans(), st.integers(1, 40))
def test_square_of_ordinary_images_is_resized_whole(short, ratio, upright, size):
    image = Image.fromarray(noise(0, *((short, short * ratio) if upright else (short * ratio, short))))
    scale = size / short
    whole = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    left, top = ((side - size) // 2 for side in whole.size)
    expected = whole.crop((left, top, left + size, top + size))
    assert images.square(image, size).tobytes() == expected.tobytes()


def test_many_images_keep_their_order_and_few_wait_in_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(prepare.os, "cpu_count", lambda: 2)
    names = {f"port_{number}.jpg": "train" for number in range(20)}
    source = write_source(tmp_path / "source", karpathy(names), names)
    read = []
    load = RawFiles.read_image
    monkeypatch.setattr(RawFiles, "read_image", lambda files, name: read.append(name) or load(files, name))
    records = formats.read(BenchmarkParams(source="local"), source).images
    for number, (record, (pixels, _)) in enumerate(prepare.decode_all(records, 32)):
        assert record.filename == f"port_{number}.jpg" and len(read) <= number + 7
        assert pixels == Image.open(io.BytesIO(encoded(number))).tobytes()
    assert number == 19


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40))
def test_square_has_the_size_and_keeps_what_fits(width, height, size):
    image = Image.fromarray(noise(0, width, height))
    result = images.square(image, size)
    assert result.size == (size, size)
    if min(width, height) == size:
        left, top = (width - size) // 2, (height - size) // 2
        assert np.array_equal(result, np.asarray(image)[top : top + size, left : left + size])


def test_square_of_a_flat_image_is_flat_and_centred():
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = 200
    assert (np.asarray(images.square(Image.fromarray(wide), 20))[:, 2:-2] == 200).all()


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_every_image_mode_becomes_rgb(mode):
    buffer = io.BytesIO()
    Image.fromarray(noise(0)).convert(mode).save(buffer, "TIFF")
    pixels, _ = prepare.decode(buffer.getvalue(), 32)
    assert len(pixels) == 32 * 32 * 3


def table(**changes):
    values = {
        "image_id": [0, 0, 1],
        "caption_id": [0, 1, 2],
        "filename": ["a", "a", "b"],
        "caption": ["x", "y", "z"],
        "split": ["train", "train", "val"],
        "scene": ["", "", ""],
        "weak": ["", "", ""],
        "phash": np.array([1, 1, 2**63 + 1], np.uint64),
    }
    return pd.DataFrame({**values, **changes})


def test_manifest_survives_the_file(tmp_path):
    manifest.write(table(), tmp_path / "m.parquet")
    again = manifest.read(tmp_path / "m.parquet")
    assert manifest.digest(again) == manifest.digest(table()) and again["phash"].dtype == np.uint64
    assert manifest.digest(table(caption=["x", "y", "Z"])) != manifest.digest(table())
    assert manifest.images_of(again)["filename"].tolist() == ["a", "b"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_id": [1, 1, 2]}, "must start at 0"),
        ({"image_id": [0, 0, 2]}, "row 2: image_id = 2"),
        ({"image_id": [0, 1, 0]}, "row 2: image_id = 0"),
        ({"caption_id": [0, 2, 1]}, "row 1: caption_id = 2"),
        ({"filename": ["a", "c", "b"]}, "row 0: filename"),
        ({"caption": ["x", " ", "z"]}, "row 1: caption = ' '"),
        ({"split": ["train", "test", "val"]}, "row 0: split"),
        ({"split": ["train", "train", "dev"]}, "row 2: split = 'dev'"),
        ({"phash": np.array([1, 2, 3], np.uint64)}, "row 0: phash"),
        ({"extra": [0, 0, 0]}, "columns are"),
    ],
)
def test_what_is_no_manifest(tmp_path, changes, message):
    with pytest.raises(IebakerError, match=message):
        manifest.write(table(**changes), tmp_path / "m.parquet")
