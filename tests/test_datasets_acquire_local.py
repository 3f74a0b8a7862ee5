"""Local sources: listed at every run, copied whole, refused with the remedy."""

import json
import os
from pathlib import Path

import pytest
from conftest import section
from datasets_builders import encoded, write_images, write_source, write_zip
from pydantic import ValidationError

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.datasets import origin
from iebaker.datasets.acquire import catalogue
from iebaker.datasets.acquire import locate as locating
from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError
from iebaker.layout import source_root


def acquire(folder, **params):
    benchmark = BenchmarkParams(**params)
    catalogue.acquire("mine", benchmark, section(SyntheticParams), folder / "raw/mine", folder / "downloads")
    return folder / "raw/mine"


def locate(folder, synthetic=None, **params):
    values = synthetic or section(SyntheticParams)
    return locating.locate("mine", BenchmarkParams(**params), values, folder / "raw", folder / "downloads")


def test_listing_changes_with_every_file_and_with_nothing_else(tmp_path):
    source = write_source(tmp_path / "source")
    first = locate(tmp_path, source=str(source))
    assert locate(tmp_path, source=str(source)) == first
    assert str(tmp_path) not in json.dumps(first)
    (names,) = [part["files"] for part in first["sources"][0]["parts"]]
    assert set(names) == {"dataset.json", *(f"images/{path.name}" for path in (source / "images").iterdir())}
    for change in (
        lambda: (source / "images/airport_1.jpg").write_bytes(b"0"),
        lambda: os.utime(source / "images/airport_1.jpg", ns=(0, 10**9)),
        lambda: (source / "images/new.jpg").write_bytes(b"0"),
        (source / "images/new.jpg").unlink,
    ):
        before = locate(tmp_path, source=str(source))
        change()
        assert locate(tmp_path, source=str(source)) != before
    before = locate(tmp_path, source=str(source))
    (tmp_path / "elsewhere").mkdir()
    moved = source.rename(tmp_path / "elsewhere/source")
    assert locate(tmp_path, source=str(moved)) == before


def test_only_what_is_drawn_depends_on_the_section_that_draws(tmp_path):
    source = str(write_source(tmp_path / "source"))
    other = section(SyntheticParams, seed=7)
    assert locate(tmp_path, source=source) == locate(tmp_path, other, source=source)
    drawn = locate(tmp_path, source="synthetic")
    assert drawn == locate(tmp_path, source="synthetic") != locate(tmp_path, other, source="synthetic")
    assert len(drawn["sources"][0]["parts"][0]["code"]) == 64


def test_addresses_are_listed_without_their_secrets(tmp_path):
    first, second = (
        locate(tmp_path, source=f"https://tom:pass@host.invalid/a.zip?key={key}") for key in ("token1", "token2")
    )
    assert first != second
    assert not any(secret in json.dumps(first) for secret in ("tom", "pass", "token"))


def test_folder_is_copied_whole_and_its_read_only_flags_are_not(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "dataset.json").chmod(0o444)
    raw = acquire(tmp_path, source=str(source), licence="ours", citation="us")
    assert {path.name for path in (raw / "images").iterdir()} == {path.name for path in (source / "images").iterdir()}
    assert os.access(raw / "dataset.json", os.W_OK)
    assert not list(raw.parent.glob(".*"))
    record = origin.read(raw)
    assert (record.places, record.format, record.annotations) == (["source"], "karpathy", "dataset.json")
    assert (record.licence, record.citation) == ("ours", "us") and str(tmp_path) not in json.dumps(vars(record))


def test_folder_that_was_acquired_before_is_a_source_like_any_other(tmp_path):
    raw = acquire(tmp_path, source=str(write_source(tmp_path / "source")))
    kept = raw.rename(tmp_path / "kept")
    again = acquire(tmp_path, source=str(kept))
    assert origin.read(again).places == ["kept"]


def test_relative_places_of_experiments_in_copies_are_those_of_the_project(tmp_path, monkeypatch):
    write_source(tmp_path / "source")
    copy = tmp_path / ".dvc/tmp/exps/tmp1234"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert source_root() == tmp_path
    benchmark, synthetic = BenchmarkParams(source="source"), section(SyntheticParams)
    catalogue.acquire("mine", benchmark, synthetic, copy / "raw/mine", tmp_path / "downloads", source_root())
    assert (copy / "raw/mine/dataset.json").exists()
    monkeypatch.chdir(tmp_path)
    assert source_root() == Path()


def test_parts_of_several_places_are_joined(tmp_path):
    source = write_source(tmp_path / "source")
    write_zip(tmp_path / "images.zip", {f"a/{path.name}": path.read_bytes() for path in (source / "images").iterdir()})
    raw = acquire(tmp_path, source=[str(source / "dataset.json"), str(tmp_path / "images.zip")])
    assert sorted(RawFiles(raw).names)[:2] == ["dataset.json", "images.zip/a/00003.jpg"]
    assert set(origin.read(raw).files) == {"dataset.json", "images.zip"}


def test_of_a_folder_only_what_the_params_name(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "unrelated.bin").write_bytes(b"0" * 10)
    raw = acquire(tmp_path, source=str(source), annotations="dataset.json", images="images")
    assert {path.name for path in raw.iterdir()} == {"dataset.json", "images", origin.ORIGIN_FILE}


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"source": "nowhere"}, r"^benchmark\.mine\.source: nowhere does not exist; correct the path \(it would be /"),
        ({"source": "nul\0"}, "is no path"),
        ({"source": "~nobody-at-all/x"}, "is no path|does not exist"),
        ({"source": "empty"}, "empty is an empty folder"),
        ({"source": "pipe"}, "pipe is neither a file nor a folder"),
        ({"source": "odd"}, "odd/pipe is a pipe, socket or device, no file; remove it"),
        ({"source": "ftp://x/y.zip"}, r"ftp://x/y\.zip: cannot fetch by 'ftp'"),
        ({"source": "hf://models/x/y"}, r"hf://models/x/y: must be hf://datasets/ORG/NAME@REVISION/GLOB"),
        ({"source": ["source", "file:///a.zip"]}, r"file:///a\.zip: cannot fetch by 'file'"),
        ({"source": "source", "annotations": "other.json"}, r"annotations: 'other\.json' is not there .*dataset\.json"),
        ({"source": "source", "images": "photos"}, r"images: 'photos' is not there \(there: dataset\.json, images"),
        (
            {"source": "source", "annotations": "/a.json"},
            r"annotations \(within the source; .*'/a\.json' is not a plain",
        ),
        ({"source": "source", "sha256": "0" * 64}, "is a folder, which has no checksum"),
        ({"source": "images.rar"}, r"images\.rar: \.rar is not read; unpack it \(unrar x images\.rar images/\)"),
        ({"source": ["source", "source"]}, "an earlier place gives a file of the same name"),
        ({"source": "source/dataset.json", "sha256": "0" * 64}, "SHA-256 is .*damaged, or another version"),
    ],
)
def test_unusable_sources(tmp_path, monkeypatch, params, message):
    monkeypatch.chdir(tmp_path)
    write_source(tmp_path / "source")
    (tmp_path / "images.rar").write_bytes(b"Rar!")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "odd").mkdir()
    os.mkfifo(tmp_path / "odd/pipe")
    with pytest.raises(IebakerError, match=message) as refusal:
        acquire(tmp_path, **params)
    assert str(refusal.value).startswith("benchmark.mine.source") and "\n" not in str(refusal.value)
    assert not (tmp_path / "raw/mine").exists()


@pytest.mark.parametrize("source", ["", " ", [], ["source", ""], None])
def test_no_source(source):
    with pytest.raises(ValidationError, match="source|at least 1"):
        BenchmarkParams(source=source)


@pytest.mark.parametrize("place", ["mine", "other/a.json", ".", "away"])
@pytest.mark.parametrize("through", ["raw", "link"])
def test_source_in_the_folder_that_is_overwritten(tmp_path, place, through):
    raw = acquire(tmp_path, source=str(write_source(tmp_path / "source")))
    write_source(raw.parent / "other")
    (tmp_path / "link").symlink_to("raw")
    (raw.parent / "away").symlink_to(tmp_path / "source")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(
        IebakerError, match=r"^benchmark\.mine\.source: .* lies in .*/raw, which the pipeline overwrites"
    ):
        acquire(tmp_path, source=[str(tmp_path / through / place)])
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("links", "message"),
    [
        (
            {"images/a_9.jpg": "/nowhere/b.jpg"},
            r"images/a_9\.jpg is a link to /nowhere/b\.jpg, which is not there; mend",
        ),
        ({"images/a_9.jpg": "a_9.jpg"}, r"images/a_9\.jpg is a link to a_9\.jpg, which is not there; mend"),
        ({"images/zero.jpg": "/dev/zero"}, r"images/zero\.jpg is a pipe, socket or device, no file; remove it"),
        ({"images/again": ".."}, r"images/again is a link to \.\., a folder that it lies in; remove it"),
        ({"b/x": "../images", "images/y": "../b"}, r"a folder that it lies in; remove it"),
    ],
)
def test_links_that_lead_nowhere_or_back(tmp_path, links, message):
    source = write_source(tmp_path / "source")
    for name, target in links.items():
        (source / name).parent.mkdir(exist_ok=True)
        (source / name).symlink_to(target)
    with pytest.raises(IebakerError, match=rf"^benchmark\.mine\.source: .*{message}"):
        acquire(tmp_path, source=str(source))
    assert not (tmp_path / "raw/mine").exists()


def test_links_to_files_and_folders_are_followed(tmp_path):
    source = write_source(tmp_path / "source")
    (source / "images").rename(tmp_path / "elsewhere")
    (source / "images").symlink_to("../elsewhere")
    (tmp_path / "elsewhere/b_9.jpg").symlink_to("airport_1.jpg")
    raw = acquire(tmp_path, source=str(source))
    assert (raw / "images/b_9.jpg").read_bytes() == encoded(0) and not (raw / "images/b_9.jpg").is_symlink()


@pytest.mark.parametrize("member", ["../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", "C:/evil.jpg"])
def test_zip_members_that_leave_the_folder(tmp_path, member):
    write_images(tmp_path / "source")
    write_zip(tmp_path / "source/images.zip", {member: encoded(0)})
    with pytest.raises(IebakerError, match=r"images\.zip: file name .* is not a plain relative path"):
        acquire(tmp_path, source=str(tmp_path / "source"))


def test_hidden_files_of_operating_systems_are_no_images(tmp_path):
    write_zip(tmp_path / "a.zip", {"__MACOSX/x/._a_1.jpg": b"0", "x/.DS_Store": b"0", "x/a_1.jpg": encoded(0)})
    assert RawFiles(tmp_path).names == ["a.zip/x/a_1.jpg"]


def test_what_params_may_say_of_sources():
    (choice,) = BenchmarkParams(source=["a", "b"], sha256=["0" * 64, ""]).choices
    assert [(part.place, part.sha256) for part in choice.parts] == [("a", "0" * 64), ("b", "")]
    public = {"parts": ["https://x.invalid/a.zip", {"place": "b", "md5": "0" * 32}], "format": "nwpu"}
    assert [part.place for part in BenchmarkParams(sources=[public]).choices[0].parts] == [
        "https://x.invalid/a.zip",
        "b",
    ]
    assert BenchmarkParams(source="mine", sources=[public]).choices[0].parts[0].place == "mine"
    for wrong, message in [
        ({"source": ["a", "b"], "sha256": "0" * 64}, "sha256 has 1 entries, source 2"),
        ({"source": "a", "sha256": "75206b2e16446591afa88e2628744886"}, "not a SHA-256"),
        ({"sources": [public], "format": "csv"}, "format describes `source`, which is null"),
        ({"sources": [{"parts": []}]}, "at least 1"),
        ({"sources": [{"parts": [{"place": "a", "md5": "x"}]}]}, "md5"),
    ]:
        with pytest.raises(ValidationError, match=message):
            BenchmarkParams(**wrong)
