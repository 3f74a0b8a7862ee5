"""Readers: every layout, and an error that names file and row, or a counted exclusion, for what is wrong."""

import json
import random
from collections import Counter

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets_builders import (
    NAMES,
    RSICD,
    encoded,
    karpathy,
    needs,
    nwpu,
    write_csv,
    write_images,
    write_source,
    write_zip,
)
from hypothesis import given
from hypothesis import strategies as st

from iebaker.config.params import BenchmarkParams
from iebaker.datasets import formats
from iebaker.datasets.files import check_relative
from iebaker.datasets.formats.records import scene_of
from iebaker.errors import IebakerError


def read(raw, **params):
    return formats.read(BenchmarkParams(source="local", **params), raw)


def reasons(records):
    return Counter(item.reason for item in records.exclusions)


def test_karpathy(tmp_path):
    annotations = karpathy()
    annotations["images"][1]["scene"] = "harbour"
    annotations["images"][1]["sentences"][0]["weak"] = "vague"
    records = read(write_source(tmp_path, annotations))
    assert [(image.filename, image.split) for image in records.images] == list(NAMES.items())
    assert [image.scene for image in records.images] == ["airport", "harbour", "", "river"]
    first, second = records.images[1].captions
    assert (first.text, first.weak, second.weak) == ("caption 0 of port_2.jpg .", "vague", "")
    assert [image.load() for image in records.images] == [encoded(seed) for seed in range(4)]
    assert records.exclusions == []


def test_images_in_a_zip_beside_or_around_the_annotations(tmp_path):
    images = {f"RSICD_images/{name}": encoded(seed) for seed, name in enumerate(NAMES)}
    for folder, members in (("beside", images), ("around", {**images, "a/d.json": json.dumps(karpathy()).encode()})):
        (tmp_path / folder).mkdir()
        write_zip(tmp_path / folder / "all.zip", members)
    (tmp_path / "beside/d.json").write_text(json.dumps(karpathy()))
    for folder in ("beside", "around"):
        assert [image.load() for image in read(tmp_path / folder).images] == list(images.values())


def test_nwpu_with_its_known_missing_image(tmp_path):
    annotations = nwpu(
        {
            "airplane": {"airplane_110.jpg": "train", "airplane_111.jpg": "train"},
            "tennis_court": {"tennis_court_1.jpg": "test"},
        }
    )
    write_images(tmp_path / "NWPU_images", ["airplane/airplane_110.jpg", "tennis_court/tennis_court_1.jpg"])
    (tmp_path / "dataset_nwpu.json").write_text(json.dumps(annotations))
    with pytest.raises(
        IebakerError,
        match=r"caption without image: airplane_111\.jpg \[dataset_nwpu\.json, airplane\[1\].*`missing: exclude`",
    ):
        read(tmp_path, format="nwpu")
    records = read(tmp_path, format="nwpu", missing="exclude")
    assert [(image.filename, image.scene) for image in records.images] == [
        ("airplane_110.jpg", "airplane"),
        ("tennis_court_1.jpg", "tennis_court"),
    ]
    assert [caption.text[-1] for caption in records.images[0].captions] == ["0", "1", "2"]
    assert reasons(records) == {"caption without image": 1}


def test_nwpu_scene_folder_tells_equal_names_apart(tmp_path):
    (tmp_path / "d.json").write_text(json.dumps(nwpu({"port": {"1.jpg": "train"}, "river": {}})))
    write_images(tmp_path, ["river/1.jpg", "port/1.jpg"])
    assert read(tmp_path, format="nwpu", missing="exclude").images[0].load() == encoded(1)


def test_csv(tmp_path):
    write_images(tmp_path, ["boat_0.tif", "sub/plane_1.tif"])
    write_csv(
        tmp_path / "my.csv",
        [("boat_0.tif", "a, b", "train"), ("sub/plane_1.tif", "c", "validation"), ("boat_0.tif", "d", "train")],
    )
    records = read(tmp_path, format="csv")
    assert [(image.filename, image.split, image.scene) for image in records.images] == [
        ("boat_0.tif", "train", "boat"),
        ("sub/plane_1.tif", "val", "plane"),
    ]
    assert [caption.text for caption in records.images[0].captions] == ["a, b", "d"]


def write_parquet(file, rows, **columns):
    table = pa.table({
        "filename": [f"rsicd_images/{name}" for name, _ in rows],
        "captions": [[f"one of {name}", f"two of {name}"] for name, _ in rows],
        "image": [{"bytes": content, "path": name} for name, content in rows],
        **columns,
    })  # fmt: skip
    file.parent.mkdir(exist_ok=True)
    pq.write_table(table, file, row_group_size=2)


def test_parquet_with_embedded_images(tmp_path):
    for split, start in (("train", 0), ("valid", 5), ("test", 7)):
        rows = [(f"port_{row}.jpg", encoded(row)) for row in range(start, start + 5 if split == "train" else start + 2)]
        write_parquet(tmp_path / f"data/{split}-00000-of-00001.parquet", rows)
    records = read(tmp_path, format="parquet")
    assert Counter(image.split for image in records.images) == {"train": 5, "val": 2, "test": 2}
    assert {image.scene for image in records.images} == {"port"}
    for image in random.Random(0).sample(records.images, 9):
        assert image.load() == encoded(int(image.filename.split("_")[-1][:-4]))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("training-0.parquet", r"training-0\.parquet: unknown split 'training'"),
        (
            "train-0.parquet",
            r"train-0\.parquet, row 1 .*file name 'rsicd_images/a_1\.jpg' is also that of train-0\.parquet, row 0",
        ),
    ],
)
def test_parquet_errors(tmp_path, name, message):
    write_parquet(tmp_path / name, [("a_1.jpg", b"")] * 2)
    with pytest.raises(IebakerError, match=message):
        read(tmp_path, format="parquet")


PARQUET_TYPES = {
    "captions are strings": ({"captions": ["one", "two"]}, r"`captions` is string, must be list<string>"),
    "captions are numbers": ({"captions": [[1], [2]]}, r"`captions` is list<.*int64>, must be list<string>"),
    "names are numbers": ({"filename": [1, 2]}, r"`filename` is int64, must be string"),
    "bare bytes": ({"image": [b"0", b"0"]}, r"`image` is binary, must be struct with `bytes: binary`"),
    "paths alone": ({"image": [{"path": "a"}] * 2}, r"`image` is struct<path: string>, must be struct with `bytes"),
}


@pytest.mark.parametrize("case", PARQUET_TYPES)
def test_parquet_columns_of_another_type(tmp_path, case):
    columns, message = PARQUET_TYPES[case]
    write_parquet(tmp_path / "train-0.parquet", [("a_1.jpg", b""), ("a_2.jpg", b"")], **columns)
    with pytest.raises(IebakerError, match=rf"^train-0\.parquet: the column {message}"):
        read(tmp_path, format="parquet")


def test_parquet_of_large_types(tmp_path):
    large = pa.struct([("bytes", pa.large_binary())])
    columns = {
        "filename": pa.array(["a_1.jpg"], pa.large_string()),
        "captions": pa.array([["one", None]], pa.large_list(pa.large_string())),
        "image": pa.array([{"bytes": b"0"}], large),
    }
    write_parquet(tmp_path / "train-0.parquet", [("a_1.jpg", b"")], **columns)
    image = read(tmp_path, format="parquet", missing="exclude").images[0]
    assert (image.filename, [caption.text for caption in image.captions], image.load()) == ("a_1.jpg", ["one"], b"0")


def test_damaged_parquet_names_the_file(tmp_path):
    file = tmp_path / "train-0.parquet"
    write_parquet(file, [(f"port_{row}.jpg", encoded(row)) for row in range(4)])
    content = bytearray(file.read_bytes())
    content[4:200] = b"\xff" * 196
    file.write_bytes(content)
    with pytest.raises(IebakerError, match=r"^train-0\.parquet: not a readable parquet file \("):
        read(tmp_path, format="parquet")


def broken(change):
    annotations = karpathy()
    change(annotations["images"])
    return annotations


def update(image, **values):
    return lambda images: images[image].update(values)


KARPATHY_ERRORS = {
    "unknown split": (update(2, split="dev"), r"d\.json, images\[2\] \(00003\.jpg\): unknown split 'dev'"),
    "no split": (lambda images: images[2].pop("split"), r"images\[2\].*unknown split None"),
    "parent path": (
        update(1, filename="../port_2.jpg"),
        r"images\[1\].*'\.\./port_2\.jpg' is not a plain relative path",
    ),
    "absolute path": (update(1, filename="/port_2.jpg"), r"images\[1\].*is not a plain relative path"),
    "same name": (update(3, filename="port_2.jpg"), r"images\[3\].*file name 'port_2\.jpg' is also .* images\[1\]"),
    "same id": (update(3, imgid=0), r"images\[3\].*id '0' is also that of d\.json, images\[0\]"),
    "same sentence id": (
        lambda images: images[3]["sentences"][0].update(sentid=0),
        r"images\[3\].*sentences\[0\]: sentid 0 is also",
    ),
    "no sentences": (
        lambda images: images[0].pop("sentences"),
        r"images\[0\] \(airport_1\.jpg\): .*'sentences' is missing",
    ),
    "caption is a number": (
        lambda images: images[0]["sentences"][1].update(raw=3),
        r"images\[0\].*sentences\[1\]: 'raw' must be a str, not 3",
    ),
    "scene is a list": (
        update(1, scene=["a"]),
        r"images\[1\] \(port_2\.jpg\): 'scene' must be a str or int, not \['a'\]",
    ),
    "scene is a truth value": (update(1, scene=True), r"images\[1\].*'scene' must be a str or int, not True"),
    "weak is a number": (
        lambda images: images[0]["sentences"][1].update(weak=1),
        r"images\[0\].*sentences\[1\]: 'weak' must be a str, not 1",
    ),
    "half a character": (
        lambda images: images[0]["sentences"][1].update(raw="a \ud83d plane"),
        r"images\[0\].*sentences\[1\]: 'raw' holds half a character, '\\ud83d'; correct it",
    ),
    "nothing at all": (lambda images: images.clear(), "no image with a caption and a file"),
}


@pytest.mark.parametrize("case", KARPATHY_ERRORS)
@pytest.mark.parametrize("missing", ["refuse", "exclude"])
def test_karpathy_errors_name_file_and_row(tmp_path, case, missing):
    change, message = KARPATHY_ERRORS[case]
    write_images(tmp_path)
    (tmp_path / "d.json").write_text(json.dumps(broken(change)))
    with pytest.raises(IebakerError, match=message):
        read(tmp_path, missing=missing)


def test_json_scene_by_number_and_nulls_as_absent(tmp_path):
    annotations = karpathy()
    for image in annotations["images"]:
        image.update(imgid=None, scene=None)
        for sentence in image["sentences"]:
            sentence.update(sentid=None, weak=None)
    annotations["images"][0]["scene"] = 0
    records = read(write_source(tmp_path, annotations))
    assert [image.scene for image in records.images] == ["0", "port", "", "river"]
    assert {image.identity for image in records.images} == {""}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda classes: classes["port"][1].update(raw_1="\ud83d"),
            r"d\.json, port\[1\] \(2\.jpg\): 'raw_1' holds half",
        ),
        (lambda classes: classes.update({"\ud83d": []}), r"d\.json: the class '\\ud83d' holds half a character"),
        (lambda classes: [entry.update(imgid=None) for entry in classes["port"]], None),
    ],
)
def test_nwpu_half_characters_and_nulls(tmp_path, change, message):
    classes = nwpu({"port": {"1.jpg": "train", "2.jpg": "test"}})
    change(classes)
    (tmp_path / "d.json").write_text(json.dumps(classes))
    write_images(tmp_path / "port", ["1.jpg", "2.jpg"])
    if message is None:
        assert {image.identity for image in read(tmp_path, format="nwpu").images} == {""}
        return
    with pytest.raises(IebakerError, match=message):
        read(tmp_path, format="nwpu")


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("karpathy", '{"images": [\n{"filename": }]}', r"d\.json, line 2, column 14: malformed JSON"),
        ("karpathy", "[]", r"d\.json: the key 'images' is missing; is `format` right"),
        ("nwpu", "[]", r"d\.json: must be a dictionary keyed by scene"),
        ("nwpu", '{"port": [{"split": "test"}]}', r"d\.json, port\[0\]: the key 'filename' is missing"),
        ("csv", "filename;title;split\na;b, c;test\n", r"d\.csv, line 1: the columns are separated by ';'; save"),
        ("csv", '"filename"\t"title"\t"split"\n', r"d\.csv, line 1: the columns are separated by '\\t'; save"),
        ("csv", "filename,title,split,title\na,b,test,c\n", r"d\.csv, line 1: the column title is there twice; rename"),
        ("csv", 'filename,"title"x,split\n', r"d\.csv, line 1: malformed CSV"),
        ("csv", "filename,title\na,b\n", r"d\.csv, line 1: no column split"),
        ("csv", "filename,title,split\na.jpg,one, two,test\n", r"d\.csv, line 2: not 3 fields; quote titles"),
        ("csv", "filename,title,split\na.jpg,one\n", r"d\.csv, line 2: not 3 fields"),
        ("csv", "filename,title,split\na.jpg,one,dev\n", r"d\.csv, line 2 \(a\.jpg\): unknown split 'dev'"),
        ("csv", "filename,title,split\na,x,test\na,y,val\n", r"line 3 .*: split 'val', but 'test' in .*line 2"),
        ("csv", 'filename,title,split\na.jpg,"x"y,test\n', r"d\.csv, line 2: malformed CSV"),
        ("csv", "filename,title,split\n../a.jpg,x,test\n", r"d\.csv, line 2 .*not a plain relative path"),
    ],
)  # fmt: skip
def test_malformed_files_name_the_line(tmp_path, layout, content, message):
    (tmp_path / ("d.csv" if layout == "csv" else "d.json")).write_text(content)
    with pytest.raises(IebakerError, match=message):
        read(tmp_path, format=layout)


@pytest.mark.parametrize("damage", ["encrypted", "method", "content"])
def test_annotations_that_the_zip_does_not_give(tmp_path, damage):
    write_zip(tmp_path / "all.zip", {"d.json": json.dumps(karpathy()).encode()}, damage)
    with pytest.raises(
        IebakerError, match=r"^all\.zip/d\.json: cannot be read \(.*\); unpack the zip by hand, or get it"
    ):
        read(tmp_path)


def test_text_that_is_not_utf8(tmp_path):
    (tmp_path / "d.csv").write_bytes("filename,title,split\na.jpg,caf\xe9,test".encode("latin1"))
    with pytest.raises(IebakerError, match=r"d\.csv, byte 30: not UTF-8"):
        read(tmp_path, format="csv")


def test_which_annotations_and_which_image(tmp_path):
    write_source(tmp_path)
    (tmp_path / "other.json").write_text(json.dumps(karpathy()))
    with pytest.raises(IebakerError, match=r"json \(karpathy\), other\.json \(karpathy\); name one in `annotations`"):
        read(tmp_path)
    write_images(tmp_path / "copy")
    with pytest.raises(
        IebakerError, match=r"'airport_1\.jpg' fits copy/airport_1\.jpg, images/airport_1\.jpg; name one in `images`"
    ):
        read(tmp_path, annotations="dataset.json")
    assert len(read(tmp_path, annotations="dataset.json", images="copy").images) == 4


def write_folders(tmp_path, rows, images):
    write_csv(tmp_path / "d.csv", [(name, f"a caption of {name}", split) for name, split in rows])
    write_images(tmp_path / "images", images)


def loaded(records):
    return {image.filename: image.load() for image in records.images}


@pytest.mark.parametrize(
    ("rows", "images", "found", "missing"),
    [
        (
            [("airport/11.jpg", "train"), ("farm/11.jpg", "test")],
            ["airport/11.jpg"],
            {"airport/11.jpg": 0},
            ["farm/11.jpg"],
        ),
        (
            [("airport/4.jpg", "train"), ("farm/4.jpg", "test"), ("port/4.jpg", "val")],
            ["airport/4.jpg", "port/4.jpg"],
            {"airport/4.jpg": 0, "port/4.jpg": 1},
            ["farm/4.jpg"],
        ),
        # the folder of the annotations is not there, but the bare name tells, unless two files have it
        (
            [("train/a_1.jpg", "train"), ("a_2.jpg", "test")],
            ["a_1.jpg", "x/a_2.jpg"],
            {"train/a_1.jpg": 0, "a_2.jpg": 1},
            [],
        ),
        ([("z/1.jpg", "train"), ("2.jpg", "test")], ["x/1.jpg", "y/1.jpg", "2.jpg"], {"2.jpg": 2}, ["z/1.jpg"]),
    ],
)  # fmt: skip
def test_a_missing_image_never_takes_the_file_of_another(tmp_path, rows, images, found, missing):
    write_folders(tmp_path, rows, images)
    records = read(tmp_path, format="csv", missing="exclude")
    assert loaded(records) == {name: encoded(seed) for name, seed in found.items()}
    exclusions = [item for item in records.exclusions if item.reason == "caption without image"]
    assert [item.filename for item in exclusions] == missing
    assert all(item.detail.startswith("only elsewhere: images/") for item in exclusions)


@pytest.mark.parametrize("missing", ["refuse", "exclude"])
def test_one_file_for_two_names(tmp_path, missing):
    write_folders(tmp_path, [("airport_0.jpg", "train"), ("images/airport_0.jpg", "test")], ["airport_0.jpg"])
    message = r"line 3 \(images/airport_0\.jpg\): images/airport_0\.jpg is also the image of d\.csv, line 2 \(airport_0"
    with pytest.raises(IebakerError, match=message):
        read(tmp_path, format="csv", missing=missing)


def test_extensions_that_are_not_read(tmp_path):
    write_folders(
        tmp_path, [("a_1.gif", "train"), ("b/2.jp2", "train"), ("a_3.JPG", "test")], ["a_1.gif", "2.jp2", "a_3.JPG"]
    )
    with pytest.raises(
        IebakerError, match=r"unreadable image: a_1\.gif \[d\.csv, line 2.*\.gif is not read; convert .*\.jpg, \.jpeg"
    ):
        read(tmp_path, format="csv")
    records = read(tmp_path, format="csv", missing="exclude")
    assert loaded(records) == {"a_3.JPG": encoded(2)} and reasons(records) == {"unreadable image": 2}


def test_all_images_missing_shows_one(tmp_path):
    write_folders(tmp_path, [("a_1.jpg", "train"), ("a_2.jpg", "train")], [])
    with pytest.raises(
        IebakerError, match=r"`images` right\? The first: caption without image: a_1\.jpg \[d\.csv, line 2"
    ):
        read(tmp_path, format="csv", missing="exclude")


def test_everything_missing_is_refused_or_counted(tmp_path):
    annotations = karpathy()
    annotations["images"][0]["sentences"][1]["raw"] = "  "
    annotations["images"][1]["sentences"] = [{"raw": ""}]
    write_source(tmp_path, annotations)
    (tmp_path / "images/river_4.jpg").rename(tmp_path / "images/unknown_9.jpg")
    with pytest.raises(
        IebakerError, match=r"caption without image: river_4\.jpg .*image without caption.*empty caption"
    ):
        read(tmp_path)
    records = read(tmp_path, missing="exclude")
    assert [(image.filename, len(image.captions)) for image in records.images] == [
        ("airport_1.jpg", 1),
        ("00003.jpg", 2),
    ]
    assert {(item.reason, item.filename) for item in records.exclusions} == {
        ("empty caption", "airport_1.jpg"),
        ("image without caption", "port_2.jpg"),
        ("image without caption", "images/unknown_9.jpg"),
        ("caption without image", "river_4.jpg"),
    }
    assert all(item.where for item in records.exclusions)


def test_validation_share_depends_on_names_alone(tmp_path):
    names = {f"port_{number}.jpg": "train" if number < 40 else "test" for number in range(50)}
    write_source(tmp_path, karpathy(names), names)
    first = {image.filename: image.split for image in read(tmp_path, validation_share=0.3).images}
    shuffled = karpathy(names)
    shuffled["images"].reverse()
    (tmp_path / "dataset.json").write_text(json.dumps(shuffled))
    assert {image.filename: image.split for image in read(tmp_path, validation_share=0.3).images} == first
    more = {image.filename: image.split for image in read(tmp_path, validation_share=0.6).images}
    held = {name for name, split in first.items() if split == "val"}
    assert 4 <= len(held) <= 20 and held < {name for name, split in more.items() if split == "val"}
    assert {name for name, split in first.items() if split == "test"} == {
        name for name in names if names[name] == "test"
    }


def test_validation_share_beside_an_official_split(tmp_path):
    with pytest.raises(IebakerError, match="validation_share=0.1, but the source marks 1 images as val; set it to 0"):
        read(write_source(tmp_path), validation_share=0.1)


@pytest.mark.parametrize(
    ("name", "scene"),
    [("airport_1.jpg", "airport"), ("00001.jpg", ""), ("x/dense_forest_12.tif", "dense_forest"), ("1.tif", "")],
)
def test_scene_is_the_alphabetic_prefix(name, scene):
    assert scene_of(name) == scene


@given(st.lists(st.sampled_from(["a", "..", ".", "b c", "", "~"]), min_size=1, max_size=5))
def test_names_that_pass_stay_inside(parts):
    name = "/".join(parts)
    try:
        check_relative(name, "here")
    except IebakerError:
        assert ".." in parts or name.startswith("/") or name in ("", ".") or not name.strip("/.")
    else:
        assert ".." not in parts and not name.startswith("/")


@needs(RSICD)
def test_real_rsicd():
    records = read(RSICD, annotations="dataset_rsicd.json", images="RSICD_images.zip")
    assert Counter(image.split for image in records.images) == {"train": 8734, "val": 1094, "test": 1093}
    assert {len(image.captions) for image in records.images} == {5} and records.exclusions == []
    assert len({image.scene for image in records.images}) == 31  # 30 classes and the images without
    assert records.images[-1].load()[:2] == b"\xff\xd8"
