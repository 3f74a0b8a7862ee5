"""The gate over a repository whose one stage copies made-up hits and metrics, under the real git and DVC."""

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import run
from tiny_pipeline import TinyPipeline

from iebaker.errors import IebakerError
from iebaker.metrics.recall import Hits
from iebaker.metrics.summary import SplitMetrics
from iebaker.project.gate import gate
from iebaker.retrieval.evaluation import VariantEvaluation

IMAGES, CAPTIONS = 80, 5
METRICS = "reports/metrics/synthetic/full.json"
AUDIT = {
    "benchmarks": {"synthetic": {"near_duplicates": {"train": {"pairs": 9}, "train-test": {"pairs": 5}}}},
    "corpora": {"synthetic": {"synthetic": {"dropped_images": 9}}},
}
NAME = {"cmd": "mkdir -p data/files && echo [] > data/files/list.json", "outs": ["data/files"], "always_changed": True}
STAGE = {
    "matrix": {"corpus": "${corpora}", "variant": "${variants}"},
    "cmd": "mkdir -p data/evaluation/${item.corpus} reports/metrics/${item.corpus}; "
    "cp -r made data/evaluation/${item.corpus}/${item.variant}; "
    "cp made.json reports/metrics/${item.corpus}/${item.variant}.json",
    "deps": ["made", "made.json", "data/files/list.json"],
    "params": ["seeds"],
    "outs": ["data/evaluation/${item.corpus}/${item.variant}"],
    "metrics": [{"reports/metrics/${item.corpus}/${item.variant}.json": {"cache": False}}],
}


def make(project: TinyPipeline, lose: int = 0, moved: float = 0.0, seeds: int = 1) -> None:
    """Hits and metrics for the stage to copy: half of the images hit with all their queries, the first `lose` never.

    A share `moved` of the images is drawn again, as another run would.
    """
    rng = np.random.default_rng(0)
    owner = np.repeat(np.arange(IMAGES), CAPTIONS)
    split = SplitMetrics(owner)
    evaluation = VariantEvaluation()
    for name in ("val", "test"):
        first = np.where(np.arange(IMAGES) < lose, 0.0, rng.random(IMAGES).round())
        again = [np.random.default_rng(2 + seed) for seed in range(seeds)]
        found = [np.where(one.random(IMAGES) < moved, one.random(IMAGES).round(), first) for one in again]
        hits = [Hits(*(np.repeat(one[of, None], 3, axis=1) for of in (slice(None), owner))) for one in found]
        evaluation.hits[name] = {"plain": hits, "sar": hits}
        evaluation.image_of_text[name] = owner
        evaluation.metrics[name] = split.summary(evaluation.hits[name])
    (project.folder / "made").mkdir(exist_ok=True)
    evaluation.write(project.folder / "made", "synthetic")
    project.write("made.json", json.dumps({"synthetic": evaluation.metrics, "elimination": {"auroc": 0.9}}))


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> TinyPipeline:
    project = TinyPipeline(tmp_path_factory.mktemp("gate") / "project", ["full"])
    project.write("dvc.yaml", yaml.safe_dump({"stages": {"identify": NAME, "rerank": STAGE}}))
    project.write("reports/audit.json", json.dumps(AUDIT))
    make(project)
    project.dvc("repro", "-q")
    project.commit()
    return project


@pytest.fixture
def project(measured, tmp_path, monkeypatch) -> TinyPipeline:
    copy = measured.copy(tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    return copy


def kinds(**options: Any) -> list[str]:
    return sorted({finding.kind for finding in gate("HEAD", **options).findings})


def edit(change: Callable[[dict], Any], name: str = METRICS) -> None:
    data = json.loads(Path(name).read_text())
    change(data)
    Path(name).write_text(json.dumps(data))


def test_an_unchanged_tree_passes_with_and_without_data(project, tmp_path):
    done = project.iebaker("gate", "--base", "HEAD")
    assert done.stdout.startswith("passed: 4 mR compared with ")
    run("git", "clone", "-q", str(project.folder), str(tmp_path / "clone"), cwd=tmp_path)
    clone = object.__new__(TinyPipeline)
    clone.folder = tmp_path / "clone"
    shown = json.loads(clone.iebaker("gate", "--base", "HEAD", "--json").stdout)
    assert shown["passed"] and shown["findings"] == [] and len(shown["changes"]) == 4


def test_a_halved_number_fails(project):
    edit(lambda data: data["synthetic"]["test"]["sar"].update(mR=data["synthetic"]["test"]["sar"]["mR"] / 2))
    done = project.iebaker("gate", "--base", "HEAD", check=False)
    assert done.returncode == 1 and done.stdout.count("REGRESSION") == 1
    assert f"stale: {METRICS} modified" in done.stdout
    [change] = [change for change in gate("HEAD").changes if change.regressed]
    assert (change.split, change.ranking, change.rule) == ("test", "sar", "stated")  # the hits don't say so


def test_pairing_finds_what_the_stated_interval_hides(project):
    make(project, lose=12)
    project.dvc("repro", "-q")
    result = gate("HEAD")
    assert {(one.regressed, one.rule) for one in result.changes} == {(True, "paired")}
    assert all(one.low <= one.here - one.base <= one.high < 0 for one in result.changes)
    assert {finding.kind for finding in result.findings} == {"regression"}
    assert kinds(tolerance=15) == []
    assert kinds(tolerance=min(-one.high for one in result.changes) - 0.01) == ["regression"]
    shutil.rmtree(".dvc/cache")
    result = gate("HEAD")
    assert {(one.regressed, one.rule) for one in result.changes} == {(False, "stated")} and not result.findings


@pytest.mark.parametrize("seeds", [1, 3])
def test_within_noise_passes(seeds, project):
    """Another run of the same quality; with another number of seeds nothing can be paired."""
    make(project, moved=0.3, seeds=seeds)
    project.dvc("repro", "-q")
    result = gate("HEAD")
    assert {one.rule for one in result.changes} <= {"", "paired" if seeds == 1 else "stated"}
    assert any(one.rule for one in result.changes) and not result.findings


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda data: data.pop("synthetic"), "vanished"),
        (lambda data: data["synthetic"]["val"].pop("plain"), "vanished"),
        (lambda data: data["synthetic"]["test"]["plain"].update({"t2i_R@5": None}), "vanished"),
        (lambda data: data["elimination"].clear(), "vanished"),
        (lambda data: data["synthetic"]["test"]["plain"].update(mR=math.nan), "not finite"),
        (lambda data: data["elimination"].update(auroc=-math.inf), "not finite"),
    ],
)
def test_numbers_that_vanish_or_are_none(change, kind, project):
    edit(change)
    assert kind in kinds()


def test_files_that_vanish_or_are_cut_off(project):
    whole = Path(METRICS).read_text()
    Path(METRICS).write_text(whole[: len(whole) // 2])
    assert kinds() == ["stale", "unreadable"]
    Path(METRICS).unlink()
    assert "vanished" in kinds()
    assert kinds(only=["elimination"]) == ["vanished"]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("made.json", "{}", "made.json modified"),
        ("made/new", "", "made modified"),
        ("params.yaml", "corpora: [synthetic]\nvariants: [full]\nseeds: [1]\n", "params.yaml: seeds modified"),
        ("params.yaml", "corpora: [synthetic]\nvariants: [full, ker]\nseeds: [0]\n", "never run: rerank@synthetic-ker"),
        ("dvc.yaml", yaml.safe_dump({"stages": {"rerank": STAGE | {"cmd": "true"}}}), "dvc.yaml: cmd modified"),
        ("data/evaluation/synthetic/full/x", "", "data/evaluation/synthetic/full modified"),
    ],
)
def test_a_stale_lock_fails(name, text, says, project):
    project.write(name, text)
    [finding] = gate("HEAD").findings
    assert finding.kind == "stale" and says in finding.text


def test_stages_that_always_run_are_not_stale(project):
    project.write("dvc.yaml", yaml.safe_dump({"stages": {"rerank": STAGE | {"always_changed": True, "cmd": "true"}}}))
    assert kinds() == []


def test_what_is_new_is_no_regression(project):
    edit(lambda data: data.update(rsicd={"test": {"plain": {"mR": 1.0}}}))
    project.write("reports/metrics/rsicd/full.json", json.dumps({"rsicd": {"test": {"plain": {"mR": 1.0}}}}))
    edit(
        lambda data: data["benchmarks"].update(rsicd={"near_duplicates": {"train-val": {"pairs": 3}}}),
        "reports/audit.json",
    )
    assert kinds() == ["stale"]


def test_leakage_that_rose_fails(project):
    for change, expected in (
        (lambda data: data["benchmarks"]["synthetic"]["near_duplicates"]["train"].update(pairs=99), []),
        (lambda data: data["benchmarks"]["synthetic"]["near_duplicates"]["train-test"].update(pairs=6), ["leakage"]),
        (lambda data: data["corpora"]["synthetic"]["synthetic"].update(dropped_images=10), ["leakage"]),
    ):
        Path("reports/audit.json").write_text(json.dumps(AUDIT))
        edit(change, "reports/audit.json")
        assert kinds() == expected
    assert kinds(only=["elimination"]) == []
    Path("reports/audit.json").unlink()
    assert kinds() == ["vanished"]


def test_without_anything_to_compare_with_it_says_so(project):
    done = project.iebaker("gate", "--base", "no-such", check=False)
    assert done.returncode == 2 and "no-such" in done.stderr and len(done.stderr.splitlines()) == 1
    with pytest.raises(IebakerError, match="no metrics of rsicd"):
        gate("HEAD", only=["rsicd"])
    Path("dvc.lock").write_text("")
    with pytest.raises(IebakerError, match="dvc.lock is empty"):
        gate("HEAD")
    project.git("rm", "-rq", "--cached", "reports/metrics")
    project.git("commit", "-qm", "none")
    with pytest.raises(IebakerError, match="nothing to compare with"):
        gate("HEAD")
    shutil.rmtree(".git")
    with pytest.raises(IebakerError, match="no git repository"):
        gate("HEAD")
