"""Sources in order, parts together, and what is said before, after and when nothing is left."""

import hashlib
import io
import json

import pytest
from conftest import PARAMS, section
from datasets_builders import NAMES, encoded, karpathy, nwpu, write_source, write_zip
from scripted_server import ScriptedServer, answer, ranged

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.datasets import origin, prepare
from iebaker.datasets.acquire import web
from iebaker.datasets.acquire.catalogue import acquire
from iebaker.errors import IebakerError

QUICK = web.Patience(attempts=2, backoff=0.001, longest=0.01, timeout=1)
ANNOTATIONS = json.dumps(karpathy()).encode()


@pytest.fixture
def images(tmp_path):
    write_zip(tmp_path / "images.zip", {f"a/{name}": encoded(seed) for seed, name in enumerate(NAMES)})
    return (tmp_path / "images.zip").read_bytes()


def run(folder, said=None, **params):
    said = [] if said is None else said
    raw = folder / "raw/mine"
    acquire("mine", BenchmarkParams(image_size=32, **params), section(SyntheticParams), raw, folder / "downloads",
            patience=QUICK, say=said.append)  # fmt: skip
    return raw


def test_mirror_that_fails_is_left_with_one_line(tmp_path, images, caplog):
    with ScriptedServer([answer(status=404), ranged(ANNOTATIONS), ranged(images)]) as server:
        parts = [server.url("d.json?key=token"), server.url("images.zip")]
        raw = run(tmp_path, sources=[{"parts": [server.url("gone.zip")]}, {"parts": parts}], licence="free")
    assert [record.getMessage() for record in caplog.records] == [
        f"benchmark.mine.sources[0]: {server.url('gone.zip')}: the server answered 404 (Reason); trying the next source"
    ]
    record = origin.read(raw)
    assert record.places == [server.url("d.json?…"), server.url("images.zip")] and record.licence == "free"
    assert record.files == {
        "d.json": hashlib.sha256(ANNOTATIONS).hexdigest(), "images.zip": hashlib.sha256(images).hexdigest(),
    }  # fmt: skip
    summary = prepare.prepare(raw, BenchmarkParams(source="x", image_size=32), tmp_path / "prepared")
    assert summary["images"] == {"train": 2, "val": 1, "test": 1}
    assert summary["origin"]["places"] == record.places


def test_mirror_in_no_known_layout_is_left_too(tmp_path):
    source = write_source(tmp_path / "source")
    write_zip(tmp_path / "odd.zip", {"x/readme.txt": b"nothing"})
    with ScriptedServer([ranged((tmp_path / "odd.zip").read_bytes())]) as server:
        raw = run(tmp_path, sources=[{"parts": [server.url("odd.zip")]}, {"parts": [str(source)]}])
    assert origin.read(raw).places == ["source"]


def test_captions_and_images_of_two_places_are_joined_by_the_layout_of_the_source_that_won(tmp_path):
    write_zip(tmp_path / "resisc.zip", {f"R/port/{name}": encoded(seed) for seed, name in enumerate(NAMES)})
    (tmp_path / "n.json").write_text(json.dumps(nwpu({"port": NAMES})))
    parts = [str(tmp_path / "resisc.zip"), str(tmp_path / "n.json")]
    won = {"parts": parts, "format": "nwpu", "annotations": "n.json", "images": "resisc.zip"}
    raw = run(tmp_path, sources=[{"parts": [str(tmp_path / "away")], "format": "parquet"}, won])
    summary = prepare.prepare(raw, BenchmarkParams(source="x", image_size=32), tmp_path / "prepared")
    assert summary["captions"] == {"train": 6, "val": 3, "test": 3} and summary["origin"]["format"] == "nwpu"


def test_licence_citation_and_pin_are_said_once(tmp_path, images):
    said = []
    terms = {"licence": "research only", "citation": "Us 2020"}
    with ScriptedServer([ranged(ANNOTATIONS), ranged(images)]) as server:
        parts = [
            server.url("d.json"),
            {"place": server.url("images.zip"), "sha256": hashlib.sha256(images).hexdigest()},
        ]
        for _ in range(2):
            run(tmp_path, said, sources=[{"parts": parts, "megabytes": 3}], **terms)
        assert len(server.requests) == 2
    text = "\n".join(said)
    place, digest = server.url("d.json"), hashlib.sha256(ANNOTATIONS).hexdigest()
    assert (
        text.index("about 3 MB")
        < text.index("licence: research only")
        < text.index("cite: Us 2020")
        < text.index(digest)
    )
    assert f"write in params.yaml:\n  benchmark.mine.sources[0], part 0: {{place: '{place}', sha256: {digest}}}" in text
    assert text.count("licence") == 1 and text.count("params.yaml") == 1


def test_pin_of_a_single_source(tmp_path):
    said = []
    buffer = io.BytesIO()
    write_zip(buffer, {"d.json": ANNOTATIONS, **{name: encoded(1) for name in NAMES}})
    with ScriptedServer([ranged(buffer.getvalue())]) as server:
        run(tmp_path, said, source=server.url("all.zip"))
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        assert said[-1].endswith(f"write in params.yaml:\n  benchmark.mine.sha256: {digest}")
        (tmp_path / "readme.txt").write_text("read me")
        run(tmp_path, said, source=[str(tmp_path / "readme.txt"), server.url("all.zip?again")])
        assert said[-1].endswith(f"write in params.yaml:\n  benchmark.mine.sha256: ['', '{digest}']")


def test_when_all_fail_each_reason_and_the_steps_by_hand(tmp_path):
    raw = run(tmp_path, source=str(write_source(tmp_path / "source")))
    before = sorted(raw.rglob("*"))
    with ScriptedServer([answer(status=404), answer(status=403)]) as server:
        sources = [{"parts": [server.url("a.zip")]}, {"parts": [server.url("b.zip")]}, {"parts": ["away"]}]
        with pytest.raises(IebakerError) as refusal:
            run(tmp_path, sources=sources, by_hand="a.zip from the authors")
    lines = str(refusal.value).splitlines()
    assert [line.partition(": ")[0] for line in lines[:3]] == [f"benchmark.mine.sources[{n}]" for n in range(3)]
    assert "404" in lines[0] and "403" in lines[1] and "away does not exist" in lines[2]
    assert lines[3] == "By hand: 1. get a.zip from the authors"
    assert f"2. put them into {tmp_path / 'downloads/mine'} (zip and tar may stay packed" in lines[4]
    assert f"3. add -S benchmark.mine.source={tmp_path / 'downloads/mine'} to the command" in lines[5]
    assert "Checked then" in lines[6] and len(lines) == 7
    assert sorted(raw.rglob("*")) == before


def test_address_of_the_user_that_fails(tmp_path):
    with ScriptedServer([answer(status=404)]) as server, pytest.raises(IebakerError) as refusal:
        run(tmp_path, source=server.url("a.zip"))
    assert str(refusal.value).splitlines() == [
        f"benchmark.mine.source: {server.url('a.zip')}: the server answered 404 (Reason)",
        "Try again, or download it by hand and set benchmark.mine.source to the folder that holds it.",
    ]


@pytest.mark.parametrize("name", [name for name in PARAMS["benchmark"] if name != "synthetic"])
def test_every_declared_benchmark_has_what_a_stranger_needs(name):
    params = BenchmarkParams.model_validate(PARAMS["benchmark"][name])
    assert params.source is None and params.sources
    assert params.licence and params.citation and params.by_hand
    assert PARAMS["corpus"][name] == {"benchmarks": [name], "recipe": "last-blocks"}
