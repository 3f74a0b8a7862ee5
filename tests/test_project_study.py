import pytest
from conftest import PARAMS, write_params
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.errors import IebakerError
from iebaker.project import study


@pytest.mark.parametrize("name", ["../../thesis", ".", "/tmp", ""])
def test_studies_have_names_and_no_places(name, tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path))
    for command in (["keep", name, "synthetic"], ["sweep", name, "eba.drop_ratio"]):
        done = CliRunner().invoke(app, ["study", *command])
        assert done.exit_code == 2 and "is no name" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_study_is_kept_until_the_next_is_complete(tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path))
    kept = tmp_path / "reports/studies/mine/full.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(IebakerError, match=r"reports/ablation/nope/ablation.csv.* not there"):
        study.keep(PARAMS, "mine", "nope")
    assert kept.exists()


def test_a_sweep_takes_settings_as_key_and_value():
    with pytest.raises(IebakerError, match="train.epochs: write KEY=VALUE"):
        study.collect_sweep("mine", "eba.drop_ratio", ["train.epochs"])
