"""The real DVC in a temporary clone: what the README promises, with a benchmark of a few hundred drawings."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, run

TINY = {
    "variants": ["baseline", "full"],
    "synthetic": {"train": 160, "val": 30, "test": 30, "image_size": 96, "weak_rate": 0.2, "seed": 0},
    "train": {"epochs": 3, "batch_size": 40, "warmup_steps": 2},
    "eba": {"start_epoch": 1, "scheme": "coupled", "drop_ratio": 0.5},
    "keywords": {"size": 64, "min_count": 2},
    "sar": {"bank_size": 40},
}
LOOKS = {"locate", "identify"}  # at files of the user, in every run
BASELINE = "reports/metrics/synthetic/baseline.json"
FULL = "reports/metrics/synthetic/full.json"
pytestmark = pytest.mark.timeout(600)  # whichever test comes first waits for the fixture, too


class Repository:
    """A folder with the project in it, and DVC to be called in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, *command: str, check: bool = True) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PYTHONPATH": str(self.folder / "src"), "DVC_NO_ANALYTICS": "1"}
        done = run(*command, cwd=self.folder, check=check, env=environment)
        return done.stdout + done.stderr

    def metrics(self, file: str = FULL) -> dict:
        return json.loads((self.folder / file).read_text())

    def stages_run(self, output: str) -> set[str]:
        return set(re.findall(r"Running stage '([^'@]+)", output))


@pytest.fixture(scope="module")
def repository(tmp_path_factory) -> Repository:
    """The project's files, committed, with tiny params, reproduced once."""
    folder = tmp_path_factory.mktemp("clone") / "project"
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).stdout.split("\n")
    for file in filter(None, files):
        if (ROOT / file).is_file() and not file.startswith("tests/") and file != "dvc.lock":
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / file, folder / file)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for section, values in TINY.items():
        params[section] = params[section] | values if isinstance(values, dict) else values
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    repository = Repository(folder)
    repository("git", "init", "-q", "-b", "main")
    repository("git", "config", "user.email", "tests@example.org")
    repository("git", "config", "user.name", "Tests")
    commit(repository, "begin")
    repository("dvc", "repro", "-q")
    left = (folder / "data/resume/synthetic").rglob("*")
    assert not [path for path in left if path.is_file()]  # no training is to be resumed: its model is safe
    commit(repository, "reproduce")
    return repository


def commit(repository: Repository, message: str) -> None:
    repository("git", "add", "-A")
    repository("git", "commit", "-q", "-m", message)


def test_repro_twice_does_nothing_and_leaves_a_clean_tree(repository):
    for folder in ("data/corpora/synthetic", "data/models/synthetic/full", "reports/metrics"):
        (repository.folder / folder / ".DS_Store").write_bytes(b"of a file manager")
    assert repository.stages_run(repository("dvc", "repro")) == LOOKS
    for file in repository.folder.glob("reports/**/.DS_Store"):
        file.unlink()
    assert repository("git", "status", "--porcelain") == ""
    assert (repository.folder / "reports/index.html").exists()


def test_metrics_follow_the_schema_and_are_shown(repository):
    shown = json.loads(repository("dvc", "metrics", "show", "--json"))[""]["data"]
    assert set(shown) >= {BASELINE, FULL}
    for split in ("val", "test"):
        values = repository.metrics()["synthetic"][split]
        assert set(values) >= {"plain", "plain_lenient", "sar", "sar_lenient", "ceiling"}
        recalls = [values["plain"][f"{way}_R@{k}"] for way in ("i2t", "t2i") for k in (1, 5, 10)]
        assert values["plain"]["mR"] == pytest.approx(sum(recalls) / 6, abs=1e-3)
        assert values["plain"]["mR_std"] is None
        assert values["plain"]["mR_low"] < values["plain"]["mR"] < values["plain"]["mR_high"]
        assert values["plain"]["t2i_R@10"] <= values["ceiling"]["t2i_R@10"]
    assert "NaN" not in (repository.folder / FULL).read_text()


def test_plots_are_shown(repository):
    repository("dvc", "plots", "show", "--out", "plots-page")
    page = (repository.folder / "plots-page/index.html").read_text()
    shutil.rmtree(repository.folder / "plots-page")
    assert "training.csv" in page


@pytest.mark.parametrize(
    ("scheme", "targets", "behind"),
    [("decoupled", [], {"index", "plot_ablation", "report"}), ("none", ["rerank"], set())],
    ids=["decoupled", "none"],
)
def test_scheme_changes_what_it_must_and_nothing_else(repository, scheme, targets, behind):
    before = repository.metrics()["elimination"]
    output = repository("dvc", "exp", "run", "-S", f"eba.scheme={scheme}", *targets)
    # the variants that fix their own scheme resolve to the same configuration and are not trained again
    assert repository.stages_run(output) == LOOKS | {"configure", "train", "export_similarity", "rerank"} | behind
    assert output.count("Running stage 'train@") == 1 and "Running stage 'train@synthetic-full-0'" in output
    assert set(json.loads(repository("dvc", "metrics", "diff", "--json"))) == {FULL}
    after = repository.metrics()["elimination"]
    if scheme == "none":
        assert (
            before["local"]["dropped_share"] > 0 == after["local"]["dropped_share"] == after["global"]["dropped_share"]
        )
    else:
        assert before["local"]["recall"] == before["global"]["recall"] > 0  # coupled: one mask for both
        assert after["local"]["recall"] != after["global"]["recall"]
    assert repository("dvc", "plots", "diff", "--out", "plots-page")
    shutil.rmtree(repository.folder / "plots-page")
    repository("git", "checkout", "-q", ".")
    repository("dvc", "checkout", "-q")


def test_number_of_keywords_on_the_command_line(repository):
    """It is called `size`, which DVC's run cache overlooks in nested parameters."""
    for size in (10, 12):
        repository("dvc", "exp", "run", "-S", f"keywords.size={size}", "mine_keywords")
        assert len((repository.folder / "data/keywords/synthetic/keywords.txt").read_text().split()) == size
    repository("git", "checkout", "-q", ".")
    repository("dvc", "checkout", "-q")


def test_files_that_params_yaml_names_count_by_what_they_hold(repository):
    words, weights = repository.folder / "words.txt", repository.folder / "weights.safetensors"
    one, other = (
        repository.folder / f"data/models/synthetic/{name}/0/model.safetensors" for name in ("full", "baseline")
    )
    shutil.copy(one, weights), words.write_text("road\nlake\n")
    settings = ("keywords.file=words.txt", "model.pretrained=weights.safetensors", "train.epochs=0", "variants=[full]")
    repository("dvc", "exp", "run", *(word for setting in settings for word in ("-S", setting)), "train")
    for file in (words, weights):
        file.touch()
    assert repository.stages_run(repository("dvc", "repro", "train")) == LOOKS
    shutil.copy(other, weights)
    assert repository.stages_run(repository("dvc", "repro", "train")) == LOOKS | {"train"}
    words.write_text("road\nbridge\n")
    assert repository.stages_run(repository("dvc", "repro", "mine_keywords")) == {"locate", "identify", "mine_keywords"}
    assert (repository.folder / "data/keywords/synthetic/keywords.txt").read_text().split() == ["bridge", "road"]
    words.unlink(), weights.unlink()
    repository("git", "checkout", "-q", ".")
    repository("dvc", "checkout", "-q")


def test_epochs_on_the_command_line(repository):
    repository("dvc", "exp", "run", "-S", "train.epochs=2", "-S", "variants=[baseline]", "train")
    history = json.loads((repository.folder / "data/models/synthetic/baseline/0/history.json").read_text())
    assert len(history) == 2
    repository("git", "checkout", "-q", ".")
    repository("dvc", "checkout", "-q")


def test_queue_runs_two_settings_without_training(repository):
    for method in ("none", "sort"):
        repository("dvc", "exp", "run", "--queue", "--name", f"sar-{method}", "-S", f"sar.method={method}", "rerank")
    output = repository("dvc", "exp", "run", "--run-all")
    assert "rerank" in repository.stages_run(output) and "train" not in repository.stages_run(output)
    shown = json.loads(repository("dvc", "exp", "show", "--json"))
    finished = {
        experiment["name"]: experiment["revs"][0]["data"]["metrics"][FULL]["data"]["synthetic"]["test"]
        for commit in shown
        for experiment in commit["experiments"] or []
        if experiment["name"] in ("sar-none", "sar-sort") and experiment["executor"]["state"] == "success"
    }
    unsorted, resorted = finished["sar-none"], finished["sar-sort"]
    assert unsorted["sar"]["mR"] == unsorted["plain"]["mR"] == resorted["plain"]["mR"] != resorted["sar"]["mR"]
    assert resorted["sar"]["transductive"] and not unsorted["sar"]["transductive"]


def test_prune_removes_what_is_no_longer_declared_and_nothing_else(repository):
    kept = [f"data/models/synthetic/{variant}/0/model.safetensors" for variant in ("baseline", "full")]
    gone = ["data/models/synthetic/full/7/x", "data/similarity/synthetic/clip/0/x", "data/evaluation/synthetic/clip/x",
            "data/config/synthetic/clip/x",
            "data/corpora/synthetic/nwpu/x", "reports/metrics/synthetic/clip.json"]  # fmt: skip
    elsewhere = ["data/models/rsicd/clip/7/x", "reports/metrics/rsicd/clip.json"]
    for file in gone + elsewhere:
        (repository.folder / file).parent.mkdir(parents=True, exist_ok=True)
        (repository.folder / file).write_text("x")
    output = repository("python", "-c", "from iebaker.cli import app; app()", "prune")
    assert "moved reports/metrics/synthetic/clip.json to data/set-aside/reports/metrics/synthetic/clip.json" in output
    assert not any((repository.folder / file).exists() for file in gone)
    assert all((repository.folder / "data/set-aside" / file).read_text() == "x" for file in gone)
    assert all((repository.folder / file).exists() for file in kept + elsewhere)
    for file in elsewhere:
        (repository.folder / file).unlink()
    repository("git", "checkout", "-q", ".")
    assert repository.stages_run(repository("dvc", "repro")) == LOOKS


def test_a_colleague_pulls_every_result(repository, tmp_path):
    repository("dvc", "remote", "add", "-f", "-d", "--local", "store", str(tmp_path / "store"))
    repository("dvc", "push", "-q")
    run("git", "clone", "-q", str(repository.folder), "colleague", cwd=tmp_path)
    colleague = Repository(tmp_path / "colleague")
    colleague("dvc", "remote", "add", "-d", "--local", "store", str(tmp_path / "store"))
    colleague("dvc", "pull", "-q")
    assert colleague.stages_run(colleague("dvc", "repro")) == LOOKS
    assert (colleague.folder / "data/similarity/synthetic/full/0/synthetic/test/global.npy").exists()
    assert (colleague.folder / "reports/index.html").exists()


def test_misspelt_parameter_is_refused(repository):
    output = repository("dvc", "exp", "run", "-S", "+eba.drop_ration=0.2", check=False)
    assert "drop_ration" in output and "no such key; did you mean drop_ratio" in output
    repository("git", "checkout", "-q", ".")
    repository("dvc", "checkout", "-q")
