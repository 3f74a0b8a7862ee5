import json

import pandas as pd
import pytest
from test_training_checkpoint import SEEN, Attack
from training_fixtures import config

from iebaker.model import factory
from iebaker.training import fit as training
from iebaker.training.checkpoint import Checkpoint


@pytest.fixture(scope="module")
def fitted(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    machine = training.fit(config(), corpus, 0, folder / "model", folder / "resume")
    return folder / "model", machine


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stop(*_):
    raise KeyboardInterrupt


def test_same_seed_same_bytes_and_killed_training_resumes_to_them(corpus, fitted, tmp_path, monkeypatch):
    validate, calls = training.validate, []

    def killed(model, members):
        calls.append(len(calls))
        return stop() if len(calls) == 3 else validate(model, members)

    monkeypatch.setattr(training, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert not (tmp_path / "model").exists()
    training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert len(calls) == 4  # the third epoch alone
    assert content(tmp_path / "model") == content(fitted[0])


def test_a_finished_training_whose_model_was_lost_is_not_run_again(corpus, fitted, tmp_path, monkeypatch):
    """The cache was full, or the disk: the next call writes the same bytes without a single epoch."""
    machine = training.fit(config(), corpus, 0, tmp_path / "model", fitted[0].parent / "resume")
    assert machine["training_seconds"] == 0 and content(tmp_path / "model") == content(fitted[0])


def test_killed_while_writing_resumes_to_the_same_bytes(corpus, fitted, tmp_path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(training, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert content(tmp_path / "model") == content(fitted[0])


def test_a_checkpoint_with_a_pickled_object_is_no_checkpoint(corpus, fitted, tmp_path, capsys):
    """Whoever may write into the folder of checkpoints may not run code; the training starts anew."""
    attacked = tmp_path / "attacked"
    checkpoint = Checkpoint(tmp_path / "resume", training.fingerprint_of(config(), corpus, 0))
    checkpoint.save({"epoch": 2, "history": Attack(attacked)}, SEEN)
    training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert "resume: the checkpoint is damaged (UnpicklingError): starting anew" in capsys.readouterr().out
    assert not attacked.exists() and content(tmp_path / "model") == content(fitted[0])


def test_outputs_describe_the_best_epoch(fitted):
    folder, machine = fitted
    history = json.loads((folder / "history.json").read_text())
    summary = json.loads((folder / "training.json").read_text())
    best = max(history, key=lambda record: record["val_mR"])
    assert (summary["best_epoch"], summary["val_mR"]) == (best["epoch"], best["val_mR"])
    assert [record["epoch"] for record in history] == [0, 1, 2]
    assert history[0]["elimination"]["global"]["dropped"] == 0 < history[2]["elimination"]["global"]["dropped"]
    assert (folder / "dvclive/plots/metrics/val_mR.tsv").read_text().count("\n") == 4
    assert machine["samples_per_second"] > 0
    seen = pd.read_parquet(folder / "last_epoch.parquet")
    assert seen["dropped_local"].sum() == history[2]["elimination"]["local"]["dropped"]
    assert set(summary["separation"]) == {"auroc"} | {f"auroc_{kind}" for kind in set(seen["weak"]) - {""}}
    assert factory.load(folder).embed_dim == 128


def test_loss_falls_and_a_variant_without_parts_trains(corpus, tmp_path):
    plain = config(eba={"scheme": "none"}, ker={"enabled": False}, local={"loss": 0})
    assert plain.eba is plain.ker is None
    training.fit(plain, corpus, 0, tmp_path / "model", tmp_path / "resume")
    history = json.loads((tmp_path / "model/history.json").read_text())
    assert history[-1]["loss"] < history[0]["loss"]
    assert set(history[0]["elimination"]) == {"global"}
    assert "loss_keywords" not in history[0] and not (tmp_path / "model/keyword_head.safetensors").exists()
