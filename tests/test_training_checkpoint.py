from pathlib import Path

import pandas as pd
import pytest
import torch
from training_fixtures import config, make_trainer

from iebaker.training.checkpoint import STATE_FILE, Checkpoint
from iebaker.training.fit import fingerprint_of

SEEN = pd.DataFrame({"caption": ["a port"], "dropped_global": [True]})


class Attack:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_a_trainers_state_comes_back(corpus, tmp_path):
    trainer = make_trainer(corpus)
    record = trainer.run_epoch()
    Checkpoint(tmp_path, "one").save({**trainer.state(), "history": [record]}, trainer.seen)
    state, seen = Checkpoint(tmp_path, "one").load()
    assert state["history"] == [record] and state["epoch"] == 1 and seen.equals(trainer.seen)
    assert all(map(torch.equal, state["task"].values(), trainer.task.state_dict().values()))
    assert Checkpoint(tmp_path, "two").load() is None
    Checkpoint(tmp_path, "one").remove()
    assert not tmp_path.exists() and Checkpoint(tmp_path, "one").load() is None


def test_another_training_has_another_fingerprint(corpus):
    prints = [fingerprint_of(config(), corpus, 0), fingerprint_of(config(), corpus, 1)]
    prints.append(fingerprint_of(config(train={"lr": 2e-3}), corpus, 0))
    assert len(set(prints)) == 3 and fingerprint_of(config(), corpus, 0) == prints[0]


def test_damaged_files_are_as_good_as_none(tmp_path, capsys):
    checkpoint = Checkpoint(tmp_path, "one")
    checkpoint.save({"epoch": 1}, SEEN)
    whole = (tmp_path / STATE_FILE).read_bytes()
    for damage in (b"", b"no checkpoint", whole[:-500], whole[:40]):
        (tmp_path / STATE_FILE).write_bytes(damage)
        assert checkpoint.load() is None
    (tmp_path / STATE_FILE).write_bytes(whole)
    assert checkpoint.load() is not None
    [table] = tmp_path.glob("*.parquet")
    for damage in (b"", table.read_bytes()[:-9]):
        table.write_bytes(damage)
        assert checkpoint.load() is None
    table.unlink()
    assert checkpoint.load() is None


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    checkpoint, file = Checkpoint(tmp_path / "resume", "one"), tmp_path / "attacked"
    checkpoint.save({"epoch": 1, "history": Attack(file)}, SEEN)
    assert checkpoint.load() is None and not file.exists()
    torch.load(tmp_path / "resume" / STATE_FILE, weights_only=False)
    assert file.exists()  # it would have


def test_a_kill_while_saving_leaves_the_epoch_before(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path, "one")
    checkpoint.save({"epoch": 1}, SEEN)
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"epoch": 2}, SEEN.assign(caption="a river"))
    state, seen = checkpoint.load()
    assert state["epoch"] == 1 and seen.equals(SEEN)
    monkeypatch.undo()
    checkpoint.save({"epoch": 2}, SEEN.assign(caption="a river"))
    state, seen = checkpoint.load()
    assert state["epoch"] == 2 and seen["caption"].tolist() == ["a river"] and len(list(tmp_path.iterdir())) == 2
