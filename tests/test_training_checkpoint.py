import random
from pathlib import Path

import pandas as pd
import pytest
import torch
from training_fixtures import config, make_trainer

from iebaker.training import checkpoint as module
from iebaker.training.checkpoint import INDEX_FILE, Checkpoint
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
    (tmp_path / INDEX_FILE).unlink()
    assert Checkpoint(tmp_path, "one").load() is None


def test_another_training_has_another_fingerprint(corpus, tmp_path):
    prints = [fingerprint_of(config(), corpus, 0), fingerprint_of(config(), corpus, 1)]
    prints.append(fingerprint_of(config(train={"lr": 2e-3}), corpus, 0))
    weights = tmp_path / "weights.pt"
    for content in ("one", "other"):
        weights.write_text(content)
        prints.append(fingerprint_of(config(model={"pretrained": str(weights)}), corpus, 0))
    assert len(set(prints)) == 5 and fingerprint_of(config(), corpus, 0) == prints[0]


def test_damaged_files_are_as_good_as_none(tmp_path, capsys):
    """Fuzzed: every file cut off, emptied, with zeroed pages or a flipped bit; never a traceback, never used."""
    checkpoint = Checkpoint(tmp_path, "one")
    checkpoint.save({"epoch": 1, "weights": torch.arange(20_000.0)}, SEEN)
    generator = random.Random(0)
    for file in sorted(tmp_path.iterdir()):
        whole = file.read_bytes()
        flipped = bytearray(whole)
        flipped[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        start = generator.randrange(len(whole) // 2)
        zeroed = whole[:start] + bytes(len(whole) - start)
        for damage in (b"", b"no checkpoint", whole[:-9], whole[:40], bytes(flipped), zeroed, b"[]", b'{"epoch": []}'):
            file.write_bytes(damage)
            assert checkpoint.load() is None, (file, damage[:40])
        file.unlink()
        assert checkpoint.load() is None
        file.write_bytes(whole)
        assert checkpoint.load()[1].equals(SEEN)
    assert "the checkpoint is damaged (" in capsys.readouterr().out


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    checkpoint, file = Checkpoint(tmp_path / "resume", "one"), tmp_path / "attacked"
    checkpoint.save({"epoch": 1, "history": Attack(file)}, SEEN)
    assert checkpoint.load() is None and not file.exists()
    torch.load(tmp_path / "resume/state_1.pt", weights_only=False)
    assert file.exists()  # it would have


def test_the_state_of_another_training_is_not_even_opened(tmp_path, monkeypatch):
    Checkpoint(tmp_path, "one").save({"epoch": 1}, SEEN)
    monkeypatch.setattr(module.torch, "load", lambda *_, **__: pytest.fail("opened"))
    assert Checkpoint(tmp_path, "two").load() is None


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
    assert state["epoch"] == 2 and seen["caption"].tolist() == ["a river"] and len(list(tmp_path.iterdir())) == 3
