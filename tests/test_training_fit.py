import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from iebaker.config.params import TrainingConfig
from iebaker.corpus.augment import random_crops
from iebaker.errors import IebakerError
from iebaker.model import encoding, factory
from iebaker.training import fit as training
from iebaker.training.trainer import Trainer

RECIPE = {"epochs": 3, "batch_size": 20, "pairs": "one_per_image", "lr": 1e-3, "warmup_steps": 3, "threads": 1}


def config(**sections) -> TrainingConfig:
    values = {
        "corpus": "tiny",
        "variant": "test",
        "model": {"name": "overhead-tiny"},
        "train": RECIPE | sections.pop("train", {}),
        "eba": {"scheme": "decoupled", "drop_ratio": 0.2, "start_epoch": 1},
        "ker": {"layers": 1},
    }
    return TrainingConfig.model_validate(values | sections)


@pytest.fixture(scope="module")
def fitted(corpus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    machine = training.fit(config(), corpus, 0, folder / "model", folder / "resume")
    return folder / "model", machine


def content(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_same_seed_same_bytes_and_killed_training_resumes_to_them(corpus, fitted, tmp_path, monkeypatch):
    validate, calls = Trainer.validate, []

    def killed(self):
        calls.append(self.epoch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return validate(self)

    monkeypatch.setattr(Trainer, "validate", killed)
    with pytest.raises(KeyboardInterrupt):
        training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert not (tmp_path / "model").exists()
    monkeypatch.setattr(Trainer, "validate", validate)
    training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert content(tmp_path / "model") == content(fitted[0])
    assert not (tmp_path / "resume").exists()


def test_checkpoint_of_another_configuration_is_not_resumed(corpus, tmp_path):
    trainer = Trainer(config(), corpus, 0)
    fingerprint = training.fingerprint_of(config(), corpus, 0)
    training.save_state(tmp_path, fingerprint, trainer.state())
    assert training.load_state(tmp_path, fingerprint)["epoch"] == 0
    assert training.load_state(tmp_path, training.fingerprint_of(config(), corpus, 1)) is None
    other = config(train={"lr": 2e-3})
    assert training.load_state(tmp_path, training.fingerprint_of(other, corpus, 0)) is None
    for damage in (b"", b"no checkpoint", (tmp_path / "state.pt").read_bytes()[:-500]):
        (tmp_path / "state.pt").write_bytes(damage)
        assert training.load_state(tmp_path, fingerprint) is None


def test_what_cannot_be_trained_is_said_before_the_first_epoch(corpus):
    only = corpus[0]
    manifest = only.manifest
    without = dataclasses.replace(only, manifest=manifest[manifest["split"] != "val"])
    with pytest.raises(IebakerError, match=r"synthetic: no validation split.*data\.synthetic\.validation_share"):
        Trainer(config(), [only, without], 0)
    alike = dataclasses.replace(only, manifest=manifest.assign(phash=manifest["phash"].iat[0]))
    with pytest.raises(IebakerError, match="no training pair: 120 training images were left out as near-duplicates"):
        Trainer(config(), [alike], 0)
    with pytest.raises(ValueError, match="train.device=gpu7"):
        Trainer(config(train={"device": "gpu7"}), corpus, 0)


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
    assert factory.load(folder).embed_dim == 128


def test_separation_is_that_of_each_caption_with_its_own_image(corpus, fitted):
    """Against the definition, pair by pair; and nothing is reported where nothing is known."""
    trainer = Trainer(config(), corpus, 0)
    found, model, pairs = trainer.separation(), trainer.model.eval(), trainer.pairs
    with torch.no_grad():
        images = model.preprocess(torch.from_numpy(np.array(corpus[0].pixels[pairs["image_id"].to_numpy()])))
        values = torch.cosine_similarity(
            model.encode_text(model.tokenize(pairs["caption"].tolist())).pooled, model.encode_image(images).pooled
        ).numpy()
    weak = pairs["weak"].to_numpy() != ""
    exact = np.mean(values[~weak][:, None] > values[weak][None])
    assert found["auroc"] == pytest.approx(exact, abs=1e-3)
    assert json.loads((fitted[0] / "training.json").read_text())["separation"].keys() == found.keys()
    trainer.pairs = pairs.assign(weak="")
    assert trainer.separation() == {}


def test_loss_falls_and_a_variant_without_parts_trains(corpus, tmp_path):
    plain = config(eba={"scheme": "none"}, ker={"enabled": False}, similarity={"local_loss": 0})
    training.fit(plain, corpus, 0, tmp_path / "model", tmp_path / "resume")
    history = json.loads((tmp_path / "model/history.json").read_text())
    assert history[-1]["loss"] < history[0]["loss"]
    assert set(history[0]["elimination"]) == {"global"}
    assert "loss_keywords" not in history[0]


def test_streams_are_independent(corpus):
    """Keyword reasoning changes neither the order of pairs, nor the crops, nor the towers' first weights."""
    with_ker, without = Trainer(config(), corpus, 0), Trainer(config(ker={"enabled": False}), corpus, 0)
    for name, values in without.model.state_dict().items():
        assert torch.equal(values, with_ker.model.state_dict()[name]), name
    for trainer in (with_ker, without):
        trainer.prepare()
        trainer.run_epoch()
    for name, stream in without.streams.items():
        assert stream.bit_generator.state == with_ker.streams[name].bit_generator.state, name


def test_dropout_is_the_same_with_tokens_and_without(corpus):
    """Of cached features and in the heads: a step with keyword reasoning scores the same pooled features."""
    frozen = {"name": "overhead-tiny", "lock_image": True, "lock_text": True}
    train = {"crop_scale": 1.0, "feature_dropout": 0.5}
    values = []
    for enabled in (True, False):
        parameters = config(model=frozen, train=train, similarity={"local_loss": 0}, ker={"enabled": enabled})
        trainer = Trainer(parameters, corpus, 0)
        trainer.prepare()
        trainer.model.train()
        for seed in (1, 1, 2):
            trainer.encoder.dropout_seed = seed
            values.append(trainer.batch_loss(np.arange(20))[1]["global"])
    assert torch.equal(values[0], values[1]) and not torch.equal(values[1], values[2])
    assert all(map(torch.equal, values[:3], values[3:]))


def test_bfloat16_trains(corpus):
    trainer = Trainer(config(train={"precision": "bfloat16"}, similarity={"precision": "bfloat16"}), corpus, 0)
    trainer.prepare()
    assert np.isfinite(trainer.run_epoch()["loss"])


def test_diverging_loss_says_what_to_do(corpus):
    trainer = Trainer(config(), corpus, 0)
    trainer.prepare()
    with torch.no_grad():
        next(parameter for parameter in trainer.model.parameters() if parameter.requires_grad).fill_(float("nan"))
    with pytest.raises(IebakerError, match="lower train.lr"):
        trainer.run_epoch()


def test_too_long_warmup_is_refused(corpus):
    with pytest.raises(ValueError, match="train.warmup_steps=200"):
        Trainer(config(train={"warmup_steps": 200}), corpus, 0)


def test_frozen_trunks_are_cached_and_change_nothing(corpus):
    """A batch from the cached trunk gives the loss of a live one, to half precision."""
    frozen = {"name": "overhead-tiny", "lock_image": True, "lock_text": True}
    parameters = config(model=frozen, train={"crop_scale": 1.0})
    cached, live = Trainer(parameters, corpus, 0), Trainer(parameters, corpus, 0)
    cached.prepare()
    live.token_ids = cached.token_ids
    assert cached.encoder._image_trunk is not None and live.encoder._image_trunk is None
    rows = np.arange(20)
    losses = [trainer.batch_loss(rows)[0].item() for trainer in (cached, live)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_frozen_trunks_run_once_for_all_seeds(corpus, tmp_path, monkeypatch):
    """Another seed has other heads and reads the same features; changed trunk weights make others."""
    parameters = config(
        model={"name": "overhead-tiny", "lock_image": True, "lock_text": True}, train={"crop_scale": 1.0}
    )
    runs, batches = [], encoding._batches
    monkeypatch.setattr(encoding, "_batches", lambda rows, name: runs.append(name) or batches(rows, name))
    first, second, third = (Trainer(parameters, corpus, seed, tmp_path) for seed in (0, 1, 1))
    heads = ("clip.visual.attnpool", "clip.text.text_projection")
    trunks = {name: values for name, values in first.model.state_dict().items() if not name.startswith(heads)}
    second.model.load_state_dict(trunks, strict=False)
    for trainer in (first, second):
        trainer.prepare()
    assert runs == ["frozen image trunk", "frozen text trunk"] and len(list(tmp_path.iterdir())) == 2
    for name in ("_image_trunk", "_text_trunk"):
        assert all(map(torch.equal, getattr(first.encoder, name), getattr(second.encoder, name)))
    third.model.load_state_dict(trunks | {"clip.visual.conv1.weight": 2 * trunks["clip.visual.conv1.weight"]}, False)
    third.prepare()
    assert runs[2:] == ["frozen image trunk"]


@pytest.fixture(autouse=True)
def _leave_nothing(tmp_path):
    yield
    shutil.rmtree(tmp_path, ignore_errors=True)


def test_killed_while_writing_resumes_to_the_same_bytes(corpus, fitted, tmp_path, monkeypatch):
    write = training.write
    monkeypatch.setattr(training, "write", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    monkeypatch.setattr(training, "write", write)
    training.fit(config(), corpus, 0, tmp_path / "model", tmp_path / "resume")
    assert content(tmp_path / "model") == content(fitted[0])


def test_crops_are_drawn_where_the_images_are():
    images = torch.empty(2, 3, 8, 8, device="meta")
    assert random_crops(images, 0.5, True, np.random.default_rng(0)).device.type == "meta"


def test_cutting_padding_changes_no_feature(corpus):
    trainer = Trainer(config(), corpus, 0)
    ids = trainer.model.tokenize(["a port .", "many planes are parked next to a long building in an airport ."])
    trainer.model.eval()
    with torch.no_grad():
        whole, cut = trainer.model.encode_text(ids), trainer.encoder.texts(ids)
    assert cut.tokens.shape[1] < whole.tokens.shape[1]
    torch.testing.assert_close(cut.pooled, whole.pooled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cut.tokens, whole.tokens[:, : cut.tokens.shape[1]], rtol=1e-5, atol=1e-6)
