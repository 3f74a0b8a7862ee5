import pytest
from conftest import PARAMS, write_params
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.errors import IebakerError
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


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of DVC without stages: nothing in it can be had again."""
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_what_is_not_declared_is_moved_and_nothing_else(project):
    fill(project, DECLARED + UNDECLARED + OF_OTHER_CORPORA)
    moved = [f"moved {path} to data/set-aside/{path}: " for path in sorted(UNDECLARED)]
    said = sorted(prune(PARAMS))
    assert len(said) == len(moved) and all(map(str.startswith, said, moved))
    assert not any((project / path).exists() for path in UNDECLARED)
    assert all((project / "data/set-aside" / path).exists() for path in UNDECLARED)
    assert all((project / path).exists() for path in DECLARED + OF_OTHER_CORPORA)
    assert list(prune(PARAMS)) == []


def test_what_is_set_aside_twice_is_there_twice(project):
    for text in ("x", "y"):
        fill(project, UNDECLARED[:1])
        (project / UNDECLARED[0] / "x").write_text(text)
        assert len(list(prune(PARAMS))) == 1
    kept = [project / "data/set-aside" / f"{UNDECLARED[0]}{number}" / "x" for number in ("", ".2")]
    assert [path.read_text() for path in kept] == ["x", "y"]


def test_empty_folders_go_and_links_are_not_followed(project):
    outside = project / "elsewhere"
    outside.mkdir()
    (outside / "x").write_text("x")
    fill(project, DECLARED)
    (project / "data/models/synthetic/empty/0").mkdir(parents=True)
    (project / "data/models/synthetic/linked").symlink_to(outside)
    said = sorted(prune(PARAMS))
    assert [line.split(" ")[:2] for line in said] == [
        ["moved", "data/models/synthetic/linked"],
        ["removed", "data/models/synthetic/empty:"],
    ]
    assert (outside / "x").exists() and (project / "data/set-aside/data/models/synthetic/linked").is_symlink()


def test_outside_of_a_project_nothing_happens(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, UNDECLARED)
    with pytest.raises(IebakerError, match="no project of DVC"):
        list(prune(PARAMS))
    assert all((tmp_path / path).exists() for path in UNDECLARED)


@pytest.mark.parametrize("corpora", [["../.."], "synthetic", []])
def test_prune_removes_nothing_by_a_wrong_selection(corpora, tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path, corpora=corpora))
    fill(tmp_path, DECLARED + UNDECLARED)
    done = CliRunner().invoke(app, ["prune"])
    assert done.exit_code == 2 and "iebaker prune: params: corpora" in done.stderr
    assert all((tmp_path / path).exists() for path in DECLARED + UNDECLARED)


def test_the_command_names_what_it_moved(project):
    write_params(project)
    fill(project, DECLARED + UNDECLARED)
    done = CliRunner().invoke(app, ["prune"])
    assert done.exit_code == 0 and len(done.stdout.splitlines()) == len(UNDECLARED)
    assert all(
        f"moved {path} to data/set-aside/{path}: not declared in params.yaml" in done.stdout for path in UNDECLARED
    )
