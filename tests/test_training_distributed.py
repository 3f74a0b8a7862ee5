"""Two processes, by torchrun and gloo, are the same training as one."""

import json
import sys
from shutil import copytree

import pandas as pd
import pytest
import torch
from conftest import ROOT, run
from training_fixtures import config
from training_processes import settings, steps

from iebaker.errors import IebakerError
from iebaker.method.gather import rank
from iebaker.model import factory
from iebaker.training import distributed, plan
from iebaker.training import fit as training
from iebaker.training.checkpoint import Checkpoint


def test_two_processes_are_the_same_training_as_one(corpus, prepared, tmp_path, monkeypatch, capsys):
    """Steps: losses, decisions, gradients. Epochs: thresholds and dropped pairs, from a checkpoint of one process, and
    of one from a checkpoint of two."""
    one, two, again, resume = (tmp_path / name for name in ("one", "two", "again", "resume"))
    # two processes go on from the checkpoint after the first epoch, as the one does
    save = Checkpoint.save
    monkeypatch.setattr(Checkpoint, "save", lambda *of: save(*of) or resume.exists() or copytree(of[0].folder, resume))
    training.fit(config(**settings(1)), corpus, 0, one, tmp_path / "unused")

    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    folders = [str(prepared), str(prepared.parent / "corpora/tiny"), str(tmp_path)]
    done = run(*launcher, str(ROOT / "tests/training_processes.py"), *folders, cwd=tmp_path)
    assert done.stdout.count("resuming after epoch 1 of 3") == 1
    capsys.readouterr()
    training.fit(config(**settings(1)), corpus, 0, again, tmp_path / "resume_of_two")
    assert "resuming after epoch 2 of 3" in "".join(capsys.readouterr())

    _, expected = steps(corpus, 1, 0)
    assert expected["1 dropped_global"].any() and expected["1 dropped_local"].any()
    for chunk_size in (0, 3):
        found = torch.load(tmp_path / f"steps_{chunk_size}.pt")
        assert found.keys() == expected.keys()
        for name, values in expected.items():
            largest = max(1.0, values.abs().max().item()) if values.is_floating_point() else 0.0
            torch.testing.assert_close(found[name], values, rtol=1e-5, atol=1e-5 * largest, msg=name)

    for folder in (two, again):
        assert_same(folder, one)


def assert_same(folder, expected):
    """Of two trainings, up to rounding."""
    assert {path.name for path in folder.iterdir()} == {path.name for path in expected.iterdir()}
    histories = [json.loads((of / "history.json").read_text()) for of in (folder, expected)]
    for left, right in zip(*histories, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-5)
        for name, audit in left["elimination"].items():
            other = right["elimination"][name]
            assert (audit["threshold"] or 0.0) == pytest.approx(other["threshold"] or 0.0, rel=1e-5)
            assert audit["dropped"] == other["dropped"]
    assert all(audit["dropped"] for audit in histories[1][1]["elimination"].values())
    seen = [pd.read_parquet(of / "last_epoch.parquet") for of in (folder, expected)]
    for name in ("image_id", "caption", "dropped_global", "dropped_local"):
        assert seen[0][name].equals(seen[1][name]) and seen[0]["dropped_global"].any()
    weights = [factory.load(of).state_dict() for of in (folder, expected)]
    for name, values in weights[0].items():
        torch.testing.assert_close(weights[1][name], values, rtol=1e-5, atol=1e-5, msg=name)


def test_what_cannot_be_shared_is_refused(corpus):
    with pytest.raises(IebakerError, match="train.batch_size=20 can't be shared equally by train.processes=3"):
        plan.make_plan(config(train={"processes": 3}), corpus, 0)
    with pytest.raises(IebakerError, match="train.processes=2, and this is one of 1"), distributed.together(2, "cpu"):
        pass
    with distributed.together(1, "cpu"):
        assert rank() == 0 and distributed.mean(torch.ones(1)) == 1


def test_a_launchers_process_starts_no_other(monkeypatch):
    started = []
    monkeypatch.setattr("os.execv", lambda program, words: started.append(words))
    distributed.start(1, "train.py", ["a"])
    monkeypatch.setenv("RANK", "0")
    distributed.start(2, "train.py", ["a"])
    assert not started
    monkeypatch.delenv("RANK")
    distributed.start(2, "train.py", ["a"])
    assert started == [[sys.executable, *"-m torch.distributed.run --standalone --nproc-per-node=2 train.py a".split()]]
