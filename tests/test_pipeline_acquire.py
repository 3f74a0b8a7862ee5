"""The real DVC: a benchmark from the hub by its name alone, and a user's folder as a dependency."""

import io
import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets_builders import encoded, write_source
from hub_server import HubServer
from project_clone import Clone

SPLITS = {"train": 24, "valid": 8, "test": 8}
ARRIVING = ["locate", "download", "prepare"]
SMALL = ["corpus.rsicd.recipe=scratch", "benchmark.rsicd.image_size=96", "train.epochs=1", "train.batch_size=8",
         "train.warmup_steps=1", "keywords.min_count=2", "sar.bank_size=8",
         "variants=[baseline]"]  # fmt: skip
pytestmark = pytest.mark.timeout(600)  # whichever test comes first waits for the fixture, too


def parquet(split: str, count: int) -> bytes:
    """A file of the hub's schema: file name, captions, and the encoded image."""
    rows = [
        {
            "filename": f"rsicd_images/port_{split}{number}.jpg",
            "captions": [f"a port with {number} grey boats {split} {caption}" for caption in range(5)],
            "image": {"bytes": encoded(number + len(split) * 100, width=96, height=96), "path": None},
        }
        for number in range(count)
    ]
    buffer = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def clone(tmp_path_factory) -> Clone:
    return Clone(tmp_path_factory.mktemp("clone") / "project", {})


def test_rsicd_from_the_hub_in_one_command(clone, tmp_path):
    files = {f"data/{split}-00000-of-00001.parquet": parquet(split, count) for split, count in SPLITS.items()}
    settings = [word for setting in SMALL for word in ("-S", setting)]
    with HubServer({"arampacha/rsicd": files}) as hub:
        output = clone("dvc", "exp", "run", "-S", "benchmarks=[rsicd]", "-S", "corpora=[rsicd]", *settings,
                       HF_ENDPOINT=hub.url, HF_HOME=str(tmp_path))  # fmt: skip
    assert "licence: research only" in output and "cite: Lu et al." in output
    summary = json.loads((clone.folder / "data/prepared/rsicd/summary.json").read_text())
    assert summary["images"] == {"train": 24, "val": 8, "test": 8} and summary["captions"]["train"] == 120
    assert list(summary["origin"]["files"]) == sorted(files)
    metrics = json.loads((clone.folder / "reports/metrics/rsicd/baseline.json").read_text())
    assert 0 < metrics["rsicd"]["test"]["plain"]["mR"] <= 100
    assert json.loads((clone.folder / "reports/audit.json").read_text())["benchmarks"]["rsicd"]["images"]["test"] == 8
    report = (clone.folder / "reports/index.html").read_text()
    assert "rsicd, acquired from hf://datasets/arampacha/rsicd@820466c" in report and "licence: research only" in report
    clone("git", "checkout", "-q", ".")


def test_own_folder_is_a_dependency(clone, tmp_path):
    """Two lines of params.yaml add a dataset; what changes within its folder runs again, and nothing else does."""
    source = write_source(tmp_path / "own images")
    clone.change({"benchmarks": ["mine"], "corpora": ["mine"], "benchmark": {"mine": {"source": str(source)}},
                  "corpus": {"mine": {"benchmarks": ["mine"], "recipe": "frozen"}}})  # fmt: skip
    reproduce = ("dvc", "repro", "prepare")
    assert clone.stages(*reproduce) == ARRIVING
    clone.commit()
    clone.change({"synthetic": {"seed": 5}})
    assert clone.stages(*reproduce) == ["locate"]
    assert clone("git", "status", "--porcelain").split() == ["M", "params.yaml"]
    listed = (clone.folder / "data/sources/mine.json").read_text() + (clone.folder / "dvc.lock").read_text()
    assert (
        "images/airport_1.jpg" in listed and str(tmp_path) not in (clone.folder / "data/sources/mine.json").read_text()
    )

    os.utime(source / "images/airport_1.jpg", ns=(0, 10**18))
    assert clone.stages(*reproduce) == ["locate", "download"]  # the same content: nothing new to prepare
    (source / "images/airport_1.jpg").write_bytes(encoded(9))
    assert clone.stages(*reproduce) == ARRIVING
    assert (clone.folder / "data/raw/mine/images/airport_1.jpg").read_bytes() == encoded(9)

    clone.change({"benchmark": {"mine": {"source": f"{source} misspelt"}}})
    refused = clone(*reproduce, check=False)
    assert (
        f"locate.py --benchmark mine: benchmark.mine.source: {source} misspelt does not exist; correct the path"
        in refused
    )
    assert "Traceback" not in refused and Path(clone.folder / "data/raw/mine/dataset.json").exists()
    clone("git", "checkout", "-q", ".")


def test_drawing_depends_on_its_section_and_its_code(clone):
    selected = {"benchmarks": ["synthetic"], "corpora": ["synthetic"]}
    clone.change({**selected, "synthetic": {"train": 8, "val": 4, "test": 4}})
    assert clone.stages("dvc", "repro", "prepare") == ARRIVING
    with (clone.folder / "src/iebaker/scenes/sheet.py").open("a") as file:
        file.write("# one more line\n")
    assert clone.stages("dvc", "repro", "prepare") == ["locate", "download"]
