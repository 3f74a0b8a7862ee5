import dataclasses

import numpy as np
import pytest
import torch
from training_fixtures import FROZEN, TRANSFORMER, config, make_trainer

from iebaker.corpus import loading
from iebaker.corpus.streams import PURPOSES, stream
from iebaker.corpus.words import names_direction
from iebaker.method import similarity
from iebaker.method.masking import KeywordMasker
from iebaker.method.task import Batch, MaskedCaptions
from iebaker.model import factory
from iebaker.model.adapters import Trunk
from iebaker.model.features import FeatureStore
from iebaker.model.tower import Tower
from iebaker.training.feed import Feed
from iebaker.training.gradients import backward
from iebaker.training.plan import make_plan

ROWS = np.arange(20)


def test_frozen_trunks_are_kept_and_change_nothing(corpus):
    """A batch of kept features gives the loss of a live one, to half precision."""
    trainer = make_trainer(corpus, **FROZEN)
    feed, image, text = trainer.feed, trainer.model.image, trainer.model.text
    kept = feed.batch(ROWS)
    assert all(isinstance(inputs, Trunk) for inputs in (kept.images, kept.texts, kept.masked.texts))
    masked = feed.masker.mask([feed.captions[row] for row in ROWS])
    live = Batch(
        image.reader.inputs([feed.images[row] for row in ROWS], image.device),
        text.reader.inputs(feed.token_ids[ROWS], text.device),
        MaskedCaptions(text.reader.inputs(masked.token_ids, text.device), *masked[1:], of=len(masked.classes)),
        kept.seed,
    )
    losses = [trainer.task(batch)["loss"].item() for batch in (kept, live)]
    assert losses[0] == pytest.approx(losses[1], rel=2e-3)


def test_frozen_trunks_run_once_for_all_seeds_and_again_when_damaged(corpus, tmp_path, monkeypatch, capsys):
    """Another seed has other heads and reads the same features; changed trunk weights make others."""
    parameters = config(**FROZEN)
    plan, runs, plain = make_plan(parameters, corpus, 0), [], Tower.piecewise
    monkeypatch.setattr(Tower, "piecewise", lambda *arguments: runs.append(arguments[-1]) or plain(*arguments))

    def feed(model) -> Feed:
        masker = KeywordMasker(model.tokenizer, loading.merged_keywords(corpus), plan.captions, parameters.ker)
        streams = {purpose: stream(0, purpose) for purpose in PURPOSES}
        return Feed(parameters, plan, model, masker, streams, torch.Generator(), FeatureStore(tmp_path))

    first, second, third = (factory.create(parameters.model) for _ in range(3))
    heads = ("image.body.attnpool", "text.body.text_projection")
    trunks = {name: values for name, values in first.state_dict().items() if not name.startswith(heads)}
    assert len(trunks) < len(first.state_dict())
    second.load_state_dict(trunks, strict=False)
    third.load_state_dict(trunks | {"image.body.conv1.weight": 2 * trunks["image.body.conv1.weight"]}, strict=False)
    one, other = feed(first).batch(ROWS), feed(second).batch(ROWS)
    assert runs == ["frozen image trunk", "frozen text trunk"] and len(list(tmp_path.iterdir())) == 2
    for name in ("images", "texts"):
        assert all(map(torch.equal, getattr(one, name), getattr(other, name)))
    assert not torch.equal(first.image(one.images).pooled, second.image(other.images).pooled)
    feed(third)
    assert runs[2:] == ["frozen image trunk"]
    for number, file in enumerate(sorted(tmp_path.iterdir())):
        file.write_bytes(file.read_bytes()[: -50 if number else None][:-4000] + (b"" if number else bytes(4000)))
    again = feed(second).batch(ROWS)
    assert len(runs) > 4 and "is damaged: its features are computed again" in capsys.readouterr().out
    assert all(map(torch.equal, one.images, again.images)) and all(map(torch.equal, one.texts, again.texts))


def test_a_frozen_image_trunk_that_sees_crops_is_not_kept(corpus):
    batch = make_trainer(corpus, model={"lock_image": True}).feed.batch(ROWS)
    assert isinstance(batch.images, torch.Tensor) and isinstance(batch.texts, torch.Tensor)


def test_a_batch_holds_each_pairs_image_and_caption(corpus):
    trainer = make_trainer(corpus, train={"crop_scale": 1.0})
    rows = next(trainer.feed.epoch())
    batch, pairs = trainer.feed.batch(rows), trainer.plan.pairs.iloc[rows]
    pixels = torch.from_numpy(np.array(corpus[0].pixels[pairs["image_id"].to_numpy()]))
    assert torch.equal(batch.images, trainer.model.preprocess(pixels))
    token_ids = trainer.model.tokenizer(pairs["caption"].tolist())
    assert torch.equal(batch.texts, token_ids[:, : batch.texts.shape[1]])
    assert trainer.model.tokenizer.padding(token_ids)[:, batch.texts.shape[1] :].all()
    assert batch.masked.positions.any() and len(batch.masked.classes) == batch.masked.positions.sum()


def test_positives_are_the_pairs_of_the_same_caption_or_image(corpus):
    assert make_trainer(corpus).feed.batch(ROWS).positives is None
    feed = make_trainer(corpus, train={"positives": "identical", "pairs": "all"}).feed
    pairs = feed.plan.pairs.iloc[ROWS]
    rows = list(zip(pairs["image_id"], pairs["caption"], strict=True))
    expected = [[image == other or caption == same for other, same in rows] for image, caption in rows]
    assert feed.batch(ROWS).positives.tolist() == expected and sum(map(sum, expected)) > len(ROWS)


@pytest.mark.parametrize("sections", [{}, FROZEN])
def test_whole_images_are_encoded_and_compared_once_and_mean_the_same(corpus, sections, monkeypatch):
    """Each distinct image and caption is one row, of the local similarities too; all is as with a row for each pair."""
    train = {"pairs": "whole_images", "crop_scale": 1.0} | sections.get("train", {})
    trainer = make_trainer(corpus, **(TRANSFORMER | sections | {"train": train}))
    trainer.task.train()
    rows = next(trainer.feed.epoch())
    pairs = trainer.plan.pairs.iloc[rows]
    assert pairs["image_id"].nunique() <= -(-len(rows) // 5) + 1
    state = trainer.feed.masking.get_state()
    shared = trainer.feed.batch(rows)
    assert shared.masked.times.sum() == len(rows) == shared.pairs
    sizes = [len(inputs[0] if isinstance(inputs, Trunk) else inputs) for inputs in (shared.images, shared.texts)]
    assert sizes == [pairs["image_id"].nunique(), pairs["caption"].nunique()]
    trainer.feed.recipe = trainer.feed.recipe.model_copy(update={"pairs": "all"})
    trainer.feed.masking.set_state(state)
    repeated = trainer.feed.batch(rows)
    assert repeated.image_of is repeated.text_of is repeated.masked.pair is None
    compared, plain = [], similarity.local_similarity

    def watched(texts, images, *more, **precision):
        compared.append([len(images), len(texts)])
        return plain(texts, images, *more, **precision)

    monkeypatch.setattr(similarity, "local_similarity", watched)
    found = [outcome(trainer.task, batch, size) for batch in (shared, repeated) for size in (0, 6)]
    assert compared[0] == sizes and compared[2] == [len(rows)] * 2
    for loss, gradients in found[1:]:
        torch.testing.assert_close(loss, found[0][0], rtol=1e-4, atol=1e-5)
        for name, values in gradients.items():
            torch.testing.assert_close(values, found[0][1][name], rtol=1e-4, atol=1e-4, msg=name)


@pytest.mark.parametrize(("sections", "pools_in_head"), [(TRANSFORMER, False), ({}, True)])
def test_pairs_that_share_an_image_draw_dropout_of_their_own(corpus, sections, pools_in_head):
    """Where dropout comes behind the pooling; a head that pools draws once an image."""
    train = FROZEN["train"] | {"pairs": "whole_images", "feature_dropout": 0.5}
    trainer = make_trainer(corpus, **sections | {"model": sections.get("model", {}) | FROZEN["model"], "train": train})
    assert getattr(trainer.model.image.adapter, "pools_in_head", False) == pools_in_head
    batch = trainer.feed.batch(next(trainer.feed.epoch()))
    same = batch.image_of[:, None] == batch.image_of
    assert same.sum() > len(same)
    for training in (True, False):
        pooled = trainer.task.train(training).encode(batch)[0].pooled
        own = torch.eye(len(same), dtype=torch.bool) if training and not pools_in_head else same
        torch.testing.assert_close((pooled[:, None] == pooled).all(-1), own)


def outcome(task, batch, chunk_size):
    task.zero_grad()
    loss = backward(task, batch, chunk_size, torch.amp.GradScaler("cpu", enabled=False))["loss"].detach()
    return loss, {name: values.grad.clone() for name, values in task.named_parameters() if values.requires_grad}


@pytest.mark.parametrize("sections", [{"train": {"crop_scale": 1.0}}, FROZEN])
def test_images_are_turned_unless_a_caption_names_a_direction(corpus, sections):
    manifest = corpus[0].manifest.copy()
    image_id = manifest.loc[manifest["split"] == "train", "image_id"].iloc[0]
    manifest.loc[manifest.index[manifest["image_id"] == image_id][0], "caption"] = "a road on the left"
    corpus = [dataclasses.replace(corpus[0], manifest=manifest)]
    feed = make_trainer(corpus, **(sections | {"train": sections["train"] | {"orientations": 8}})).feed
    image = feed.model.image
    stays = feed.plan.pairs["image_id"].to_numpy() == image_id
    named = [names_direction(caption) for caption in feed.captions]
    assert stays.any() and set(feed.plan.pairs["image_id"][named]) == set(feed.plan.pairs["image_id"][~feed.turns])
    seen = set()
    for start in range(0, 100, 20):
        rows = np.r_[np.flatnonzero(stays)[:1], start + ROWS[1:]]
        draw = feed._draw(rows)
        assert not draw.orientations[~feed.turns[rows]].any()
        seen |= set(draw.orientations)
        turned = [feed.images[row].oriented(number) for row, number in zip(rows, draw.orientations, strict=True)]
        expected, found = image.reader.inputs(turned, image.device), feed._read(draw).images
        if isinstance(found, Trunk):
            expected, found = (values.pooled.float() for values in (image.lower(expected), found))
        torch.testing.assert_close(found, expected, rtol=2e-3, atol=2e-3)
    assert seen == set(range(8))
