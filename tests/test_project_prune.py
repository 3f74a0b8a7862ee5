import pytest
from conftest import PARAMS, write_params
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.project.prune import prune

DECLARED = [
    "data/corpora/synthetic/synthetic", "data/config/synthetic/full", "data/models/synthetic/full/0",
    "data/similarity/synthetic/baseline/0", "data/evaluation/synthetic/full", "reports/metrics/synthetic/full.json",
]  # fmt: skip
UNDECLARED = [
    "data/corpora/synthetic/nwpu", "data/config/synthetic/clip", "data/models/synthetic/full/7",
    "data/models/synthetic/clip", "data/similarity/synthetic/baseline/7", "data/evaluation/synthetic/clip",
    "reports/metrics/synthetic/clip.json",
]  # fmt: skip
OF_OTHER_CORPORA = ["data/models/rsicd/clip/7", "reports/metrics/rsicd/clip.json"]


def fill(folder, paths):
    for path in paths:
        file = folder / path if path.endswith(".json") else folder / path / "x"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("x")


def test_what_is_not_declared_goes_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, DECLARED + UNDECLARED + OF_OTHER_CORPORA)
    assert sorted(map(str, prune(PARAMS))) == sorted(UNDECLARED)
    assert not any((tmp_path / path).exists() for path in UNDECLARED)
    assert all((tmp_path / path).exists() for path in DECLARED + OF_OTHER_CORPORA)
    assert prune(PARAMS) == []


@pytest.mark.parametrize("corpora", [["../.."], "synthetic", []])
def test_prune_removes_nothing_by_a_wrong_selection(corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path, corpora=corpora))
    fill(tmp_path, DECLARED + UNDECLARED)
    done = CliRunner().invoke(app, ["prune"])
    assert done.exit_code == 2 and "iebaker prune: params: corpora" in done.stderr
    assert all((tmp_path / path).exists() for path in DECLARED + UNDECLARED)


def test_the_command_names_what_it_removed(tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path))
    fill(tmp_path, DECLARED + UNDECLARED)
    done = CliRunner().invoke(app, ["prune"])
    removed = [f"removed {path}: not declared in params.yaml" for path in UNDECLARED]
    assert done.exit_code == 0 and sorted(done.stdout.splitlines()) == sorted(removed)
