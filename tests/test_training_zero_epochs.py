"""The untouched model through every stage that follows `join`, as a row of the ablation."""

import json
import runpy
import shutil
import sys
from contextlib import chdir

import pandas as pd
import pytest
import torch
import yaml
from conftest import PARAMS, ROOT, resolved

from iebaker.config.declarations import resolve
from iebaker.datasets import audit
from iebaker.layout import Folders
from iebaker.model import factory
from iebaker.report.results import open_results
from iebaker.training.fit import fit
from iebaker.training.plan import make_plan
from iebaker.training.trainer import Trainer
from iebaker.training.validation import validate

STAGES = ("configure", "train", "export_similarity", "rerank")
METRICS = "reports/metrics/synthetic/zero-shot.json"


def run_script(name, *arguments):
    """A stage's script in this process: a new one would spend seconds on importing torch."""
    sys.path.insert(0, str(ROOT / "pipeline"))
    try:
        runpy.run_path(str(ROOT / "pipeline" / f"{name}.py"))["main"](*arguments)
    finally:
        sys.path.remove(str(ROOT / "pipeline"))


def run_stages(project, variants):
    """What these variants lack, then the ablation and the report."""
    params = yaml.safe_load((project / "params.yaml").read_text()) | {"variants": variants}
    (project / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    with chdir(project):
        for variant in variants:
            if (project / f"reports/metrics/synthetic/{variant}.json").exists():
                continue
            for stage in STAGES:
                seed = () if stage in ("configure", "rerank") else ("0",)
                run_script(stage, "synthetic", variant, *seed)
        run_script("plot_ablation", "synthetic")
        run_script("report")
    return project


@pytest.fixture(scope="module")
def project(prepared, corpus, tmp_path_factory):
    """A project whose data is prepared and joined."""
    folder = tmp_path_factory.mktemp("zero-shot")
    shutil.copytree(prepared, folder / "data/prepared")
    shutil.copytree(prepared.parent / "corpora/tiny", folder / "data/corpora/synthetic")
    shutil.copytree(prepared.parent / "corpora/keywords", folder / "data/keywords")
    (folder / "reports").mkdir()
    members = {"synthetic": corpus[0].manifest}
    (folder / "reports/audit.json").write_text(json.dumps(audit.audit(members, {"synthetic": ["synthetic"]})))
    train = PARAMS["train"] | {"epochs": 1, "batch_size": 40}
    params = PARAMS | {"train": train, "sar": PARAMS["sar"] | {"bank_size": 20}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return folder


def test_zero_epochs_write_the_untouched_model(corpus, tmp_path):
    config = resolved(train={"epochs": 0, "batch_size": 10**6}, model={"lock_image": True, "lock_text": True})[0]
    machine = fit(config, corpus, 0, tmp_path / "model", tmp_path / "resume", tmp_path / "features")
    assert machine["samples_per_second"] is None and not (tmp_path / "features").exists()
    untouched = Trainer(config, make_plan(config, corpus, 0), 0).model
    kept, expected = factory.load(tmp_path / "model").clip.state_dict(), untouched.clip.state_dict()
    assert all(torch.equal(kept[name], values) for name, values in expected.items())
    summary = json.loads((tmp_path / "model/training.json").read_text())
    assert summary["best_epoch"] is None and summary["val_mR"] == validate(untouched, corpus) > 0
    assert json.loads((tmp_path / "model/history.json").read_text()) == []
    seen = pd.read_parquet(tmp_path / "model/last_epoch.parquet")
    similarities = {"global", "dropped_global", "local", "dropped_local"}
    assert len(seen) == 0 and set(seen.columns) == {"member", "image_id", "caption", "weak"} | similarities


def test_zero_shot_alone_goes_through_every_stage(project):
    run_stages(project, ["zero-shot"])
    metrics = json.loads((project / METRICS).read_text())
    assert metrics["synthetic"]["test"]["plain"]["mR"] > 0 and "trained" in metrics["elimination"]
    assert (project / "reports/ablation/synthetic/training.csv").read_text().startswith("variant,seed,epoch,val_mR")
    for name in ("training", "elimination"):
        assert (project / f"reports/ablation/synthetic/{name}.svg").stat().st_size > 1000
    assert "zero-shot" in (project / "reports/index.html").read_text()


def test_zero_shot_is_a_row_beside_a_trained_variant(project):
    run_stages(project, ["zero-shot", "baseline"])
    table = pd.read_csv(project / "reports/ablation/synthetic/ablation.csv")
    rows = table[(table["split"] == "test") & (table["matrix"] == "plain")].set_index("variant")
    metrics = json.loads((project / METRICS).read_text())
    assert rows.loc["zero-shot", "mR"] == metrics["synthetic"]["test"]["plain"]["mR"]
    assert rows["difference"].notna().tolist() == [True, False]  # against the baseline
    params = yaml.safe_load((project / "params.yaml").read_text())
    results = open_results(params, "synthetic", Folders().below(project))
    chosen = results.selections("zero-shot", "synthetic")[0]
    assert len(chosen.table) > 2  # re-ranking was chosen among members, on validation
    assert set(pd.read_csv(project / "reports/ablation/synthetic/training.csv")["variant"]) == {"baseline"}
    folder = project / "data/models/synthetic"
    seen = [pd.read_parquet(folder / name / "0/last_epoch.parquet") for name in params["variants"]]
    assert set(seen[1]) - set(seen[0]) == {"local", "dropped_local"} and set(seen[0]) < set(seen[1])


@pytest.mark.parametrize("variant", PARAMS["variant"])
def test_any_variant_and_recipe_resolves_to_zero_epochs(variant):
    params = PARAMS | {"train": PARAMS["train"] | {"epochs": 0}}
    for corpus in PARAMS["corpus"]:
        assert resolve(params, corpus, variant)[0].train.epochs == 0
