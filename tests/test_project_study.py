import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml
from conftest import PARAMS, write_params
from report_fixtures import QUALITY, made_up_project  # noqa: F401
from test_report_sweep import revision, shown
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.config.declarations import resolve
from iebaker.config.files import write_configuration
from iebaker.errors import IebakerError
from iebaker.project import study
from iebaker.project.parameters import load_params

STUDY = Path("reports/studies/mine")


@pytest.mark.parametrize("name", ["../../thesis", ".", "/tmp", ""])
def test_studies_have_names_and_no_places(name, tmp_path, monkeypatch):
    monkeypatch.chdir(write_params(tmp_path))
    for command in (["keep", name, "synthetic"], ["sweep", name, "eba.drop_ratio"]):
        done = CliRunner().invoke(app, ["study", *command])
        assert done.exit_code == 2 and "is no name" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


BASELINE, *OTHERS = QUALITY


@pytest.fixture
def ran(project, tmp_path, monkeypatch):
    """A copy of the made-up project, entered; selects what ran, and changes params.yaml."""
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("studies", "prepared"))
    monkeypatch.chdir(tmp_path / "copy")

    def select(*variants, **changes):
        params = load_params() | {"variants": list(variants), **changes}
        Path("params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
        return params

    return select


def lines(folder, table):
    return (Path(folder) / f"{table}.csv").read_text().splitlines()


def test_variants_that_never_ran_together_are_compared_as_if_they_had(ran):
    """In whatever order, and where nothing is left of the first but the study."""
    study.keep(ran(*OTHERS), "mine", "synthetic")
    (STUDY / "notes.md").write_text("by hand")
    for variant in OTHERS:
        for stage in ("evaluation", "config", "similarity", "models"):
            shutil.rmtree(f"data/{stage}/synthetic/{variant}")
    assert study.keep(ran(BASELINE), "mine", "synthetic") == list(QUALITY)
    for table in ("ablation", "elimination", "reranking"):
        assert lines(STUDY, table) == lines("reports/ablation/synthetic", table)
    assert (STUDY / "notes.md").exists()


def test_a_variant_that_ran_again_takes_the_place_of_the_first(ran):
    study.keep(ran(*QUALITY), "mine", "synthetic")
    evaluation = Path("data/evaluation/synthetic")
    shutil.copy(evaluation / BASELINE / "synthetic.npz", evaluation / "full/synthetic.npz")
    table = Path("reports/ablation/synthetic/reranking.csv")
    table.write_text(re.sub("(?m)^(synthetic,full,.*)$", "\\g<1>9", table.read_text()))
    study.keep(ran("full"), "mine", "synthetic")
    compared = pd.read_csv(STUDY / "ablation.csv").set_index("variant")["difference"]
    assert (compared["full"] == 0).all() and (compared["eba-decoupled"] != 0).all()
    assert lines(STUDY, "reranking") == table.read_text().splitlines()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eba": {**PARAMS["eba"], "drop_ratio": 0.5}}, r"mine/eba-decoupled: eba.drop_ratio is .* there and 0.5 in"),
        ({"variant": PARAMS["variant"] | {"full": {"ker": {"weight": 9.0}}}}, "mine/full: ker.weight is .* and 9.0 in"),
        ({"fusion": {**PARAMS["fusion"], "standardise": True}}, "fusion.standardise is False there and True in"),
        (
            {"corpus": {"other": PARAMS["corpus"]["synthetic"]}},
            "mine/eba-decoupled: corpus is synthetic there and other",
        ),
        ({"eba": {**PARAMS["eba"], "scheme": "none"}}, "mine/full: eba is used there and not used in params.yaml"),
        ({"seeds": [0]}, r"mine: seeds are \[0, 1\] there and \[0\] in params.yaml; keep this run under another name"),
    ],
)
def test_what_was_kept_is_compared_with_its_like_alone(ran, change, message):
    study.keep(ran(*QUALITY), "mine", "synthetic")
    kept = {path: path.read_bytes() for path in STUDY.rglob("*.*")}
    params = ran(BASELINE, **change)
    (corpus,) = params["corpus"].keys() & {"other"} or {"synthetic"}
    for parent in ("data/evaluation", "data/similarity", "reports/ablation", "reports/metrics"):
        if not Path(parent, corpus).exists():
            shutil.copytree(Path(parent, "synthetic"), Path(parent, corpus))
    write_configuration(Path("data/config", corpus, BASELINE), *resolve(params, corpus, BASELINE))
    if "seeds" in change:
        hits = Path("data/evaluation/synthetic/baseline/synthetic.npz")
        with np.load(hits) as arrays:
            one = {key: values if "image_of_text" in key else values[:1] for key, values in arrays.items()}
        np.savez(hits, **one)
    with pytest.raises(IebakerError, match=message):
        study.keep(params, "mine", corpus)
    assert {path: path.read_bytes() for path in STUDY.rglob("*.*")} == kept


def test_another_machine_is_no_other_experiment(ran):
    study.keep(ran(*OTHERS), "mine", "synthetic")
    params = ran(BASELINE, train=PARAMS["train"] | {"device": "cpu", "processes": 2, "length_groups": 4, "threads": 7})
    params["recipes"]["published"]["train"]["lr"] = 1.0  # not the corpus's
    assert study.keep(params, "mine", "synthetic") == list(QUALITY)


def test_a_study_names_no_place_of_this_machine(ran):
    """It goes into git; and a place is no reason to refuse another run."""
    weights = Path("weights.pt").absolute()
    weights.touch()
    private = {"benchmark": PARAMS["benchmark"] | {"mine": {"source": str(weights.parent)}}}
    private["variant"] = PARAMS["variant"] | {"full": {"model": {"pretrained": str(weights)}}}
    params = ran("full", **private)
    write_configuration(Path("data/config/synthetic/full"), *resolve(params, "synthetic", "full"))
    study.keep(params, "mine", "synthetic")
    assert study.keep(ran(BASELINE), "mine", "synthetic") == [BASELINE, "full"]
    assert not [path for path in STUDY.rglob("*.*") if str(weights.parent) in path.read_text("latin-1")]
    assert weights.name in (STUDY / "config/full/training.yaml").read_text()


def test_a_study_of_which_nothing_stays_may_change_in_everything(ran):
    study.keep(ran("full"), "mine", "synthetic")
    shutil.rmtree(STUDY / "hits"), shutil.rmtree(STUDY / "config"), (STUDY / "queries.json").unlink()  # older version's
    with pytest.raises(IebakerError, match="mine/full: its parameters are not there, as an older version kept none"):
        study.keep(ran(BASELINE), "mine", "synthetic")
    params = ran(*QUALITY, ker=PARAMS["ker"] | {"weight": 0.7})
    for variant in QUALITY:
        write_configuration(Path("data/config/synthetic", variant), *resolve(params, "synthetic", variant))
    assert study.keep(params, "mine", "synthetic") == list(QUALITY)


def test_other_captions_are_not_compared(ran):
    """Of as many images, with as many captions each, in another order."""
    study.keep(ran(BASELINE), "mine", "synthetic")
    for file in Path("data/similarity/synthetic/full").rglob("test/texts.parquet"):
        texts = pd.read_parquet(file)
        texts.assign(caption=texts["caption"].to_numpy()[::-1]).to_parquet(file)
    with pytest.raises(IebakerError, match="mine: captions of synthetic test are others there; keep this run under"):
        study.keep(ran("full"), "mine", "synthetic")


def test_variants_that_learnt_from_other_captions_are_not_compared(ran):
    manifest = Path("data/corpora/synthetic/synthetic/manifest.parquet")
    manifest.parent.mkdir(parents=True)
    rows = pd.DataFrame({"filename": ["1.jpg", "2.jpg"], "caption": ["a road", "a lake"], "split": ["train", "test"]})
    rows.to_parquet(manifest)
    study.keep(ran(BASELINE), "mine", "synthetic")
    study.keep(ran("full"), "mine", "synthetic")
    rows.replace("a road", "a weak caption").to_parquet(manifest)
    with pytest.raises(IebakerError, match="mine: captions of synthetic train are others there; keep this run under"):
        study.keep(ran("full"), "mine", "synthetic")
    queries = json.loads((STUDY / "queries.json").read_text())
    (STUDY / "queries.json").write_text(json.dumps({key: queries[key] for key in queries if "train" not in key}))
    study.keep(ran("full"), "mine", "synthetic")  # what an older version kept says nothing of them


def test_results_of_other_parameters_than_those_of_params_yaml_are_not_kept(ran):
    with pytest.raises(IebakerError, match=r"synthetic/full: ker.weight is .* there and 9.0 in params.yaml; run `dvc"):
        study.keep(ran("full", ker=PARAMS["ker"] | {"weight": 9.0}), "mine", "synthetic")
    with pytest.raises(IebakerError, match=r"full/synthetic.npz: of 2 seeds, and params.yaml has 3; run `dvc repro`"):
        study.keep(ran("full", ker=PARAMS["ker"], seeds=[0, 1, 2]), "mine", "synthetic")
    assert not STUDY.exists()


def test_a_study_is_kept_until_the_next_is_complete(ran):
    study.keep(ran(*QUALITY), "mine", "synthetic")
    Path("reports/metrics/synthetic/full.json").unlink()
    with pytest.raises(IebakerError, match=r"reports/metrics/synthetic/full.json: not there; run `dvc repro`"):
        study.keep(ran(*QUALITY), "mine", "synthetic")
    with pytest.raises(IebakerError, match="corpus.nope is not defined"):
        study.keep(ran(*QUALITY), "mine", "nope")
    assert (STUDY / "full.json").exists()


def test_a_sweep_takes_settings_as_key_and_value(tmp_path, monkeypatch):
    with pytest.raises(IebakerError, match="train.epochs: write KEY=VALUE"):
        study.collect_sweep("mine", "eba.drop_ratio", ["train.epochs"])
    rates = [revision(0.2, train={"lr": lr, "epochs": 10}) for lr in (1e-3, 1.5e-5, 3e-5)]
    monkeypatch.chdir(tmp_path)
    answer(monkeypatch, stdout=json.dumps(shown(*rates)))
    assert study.collect_sweep("lr", "train.lr", ["synthetic.weak_rate=0.2"]) == 6
    assert set(pd.read_csv("reports/studies/lr.csv")["value"]) == {1e-3, 1.5e-5, 3e-5}
    assert study.collect_sweep("rate", "synthetic.weak_rate", ["train.lr=1e-3"]) == 2


def test_what_hinders_dvc_from_showing_experiments_is_said(monkeypatch):
    answer(monkeypatch, returncode=1, stderr="ERROR: dvc.yaml is invalid\n")
    with pytest.raises(IebakerError, match="dvc exp show: ERROR: dvc.yaml is invalid"):
        study.collect_sweep("mine", "eba.drop_ratio", [])


def answer(monkeypatch, **said):
    done = SimpleNamespace(**{"returncode": 0, "stderr": ""} | said)
    monkeypatch.setattr(study.subprocess, "run", lambda *arguments, **options: done)
