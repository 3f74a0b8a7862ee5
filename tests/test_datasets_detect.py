"""Recognising a layout: each published one, own tables, and what cannot be told."""

import json

import pytest
from datasets_builders import NAMES, karpathy, nwpu, write_csv, write_images, write_source, write_zip

from iebaker.config.params import BenchmarkParams, Layout
from iebaker.datasets import formats
from iebaker.datasets.detect import detect
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

UC_MERCED = sorted(["agricultural", "beach", *(f"class{letter}" for letter in "abcdefghijklmnopqrs")])


def found(folder, **given):
    layout = detect(RawFiles(folder), Layout(**given))
    return layout.format, layout.annotations


def test_each_published_layout_is_recognised(tmp_path):
    assert found(write_source(tmp_path / "karpathy")) == ("karpathy", "dataset.json")
    write_images(tmp_path / "nwpu")
    (tmp_path / "nwpu/n.json").write_text(json.dumps(nwpu({"port": NAMES})))
    assert found(tmp_path / "nwpu") == ("nwpu", "n.json")
    write_images(tmp_path / "csv")
    write_csv(tmp_path / "csv/t.csv", [("airport_1.jpg", "an airport", "train")])
    write_csv(tmp_path / "csv/other.csv", [("a", "b")], header=("x", "y"))
    assert found(tmp_path / "csv") == ("csv", "t.csv")
    (tmp_path / "parquet").mkdir()
    for name in ("train-0.parquet", "test-0.parquet"):
        (tmp_path / "parquet" / name).write_bytes(b"PAR1")
    assert found(tmp_path / "parquet") == ("parquet", "")


def test_annotations_within_a_zip(tmp_path):
    write_zip(tmp_path / "all.zip", {"x/d.json": json.dumps(karpathy()).encode(), "x/a_1.jpg": b"1", "x/b.json": b"[]"})
    assert found(tmp_path) == ("karpathy", "all.zip/x/d.json")


def test_what_is_named_is_taken(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "again.json").write_text(json.dumps(karpathy()))
    assert found(source, annotations="again.json") == ("karpathy", "again.json")
    assert found(source, format="nwpu") == ("nwpu", "")


def test_one_broken_file_is_left_to_its_reader(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "dataset.json").write_text("{")
    assert found(source) == ("karpathy", "dataset.json")
    with pytest.raises(IebakerError, match=r"dataset\.json, line 1, column 2: malformed JSON"):
        formats.read(BenchmarkParams(source="source"), source)


@pytest.mark.parametrize(
    ("files", "given", "message"),
    [
        ({"a.json": karpathy(), "b.json": karpathy()}, {}, r"a\.json \(karpathy\), b\.json \(karpathy\); name one"),
        ({"a.json": karpathy(), "b.json": nwpu({"x": NAMES})}, {}, r"a\.json \(karpathy\), b\.json \(nwpu\); name one"),
        ({"a.json": [], "b.json": {"x": 1}}, {}, r"no annotations are recognised \(there: a\.json, b\.json\)"),
        ({f"{n}.json": {} for n in range(60)}, {}, "60 files may be annotations; name the one"),
        ({"a.json": karpathy()}, {"annotations": "b.json"}, r"annotations: 'b\.json' is not there \(there: a\.json\)"),
        ({"a.json": karpathy()}, {"images": "photos"}, "images: 'photos' is not there"),
        ({}, {}, "annotations: 'any file' is not there"),
    ],
)
def test_what_cannot_be_told_is_refused(tmp_path, files, given, message):
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(IebakerError, match=message):
        found(tmp_path, **given)


def ucm_source(folder, numbers, classes=UC_MERCED):
    folder.mkdir()
    members = {
        f"UCMerced_LandUse/Images/{name}/{name}{number:02}.tif": f"{name} {number}".encode()
        for name in classes
        for number in range(100)
    }
    write_zip(folder / "UCMerced_LandUse.zip", members)
    (folder / "dataset.json").write_text(json.dumps(karpathy({f"{number}.tif": "train" for number in numbers})))
    return folder


def test_numbers_of_ucm_captions_mean_uc_merced_images(tmp_path):
    source = ucm_source(tmp_path / "ucm", range(1, 2101))
    assert found(source) == ("ucm", "dataset.json")
    records = formats.read(BenchmarkParams(source="ucm"), source).images
    assert len(records) == 2100
    for number, name, content in [(1, "agricultural00", "agricultural 0"), (100, "agricultural99", "agricultural 99"),
                                  (101, "beach00", "beach 0"), (2100, "classs99", "classs 99")]:  # fmt: skip
        record = records[number - 1]
        assert (record.filename, record.load()) == (f"{name}.tif", content.encode())
        assert record.scene == name[:-2] and f"({number}.tif)" in record.where


def test_renamed_ucm_images_are_plain_karpathy(tmp_path):
    write_images(tmp_path / "imgs", ["1.tif", "2.tif"])
    (tmp_path / "dataset.json").write_text(json.dumps(karpathy({"1.tif": "train", "2.tif": "test"})))
    assert found(tmp_path) == ("karpathy", "dataset.json")


@pytest.mark.parametrize(
    ("numbers", "classes", "message"),
    [
        ([2101], UC_MERCED, r"\(2101\.tif\): must be named 1\.tif to 2100\.tif"),
        ([1], UC_MERCED[:-1], "20 of UC Merced's 21 class folders"),
    ],
)
def test_what_is_no_ucm(tmp_path, numbers, classes, message):
    with pytest.raises(IebakerError, match=message):
        formats.read(BenchmarkParams(source="ucm", format="ucm"), ucm_source(tmp_path / "ucm", numbers, classes))
