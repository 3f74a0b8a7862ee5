import math

import numpy as np
import pytest
import torch
from training_fixtures import FROZEN, make_trainer

from iebaker.method.objective import retrieval_loss
from iebaker.method.similarity import global_similarity, local_similarity

ROWS = np.arange(20)


@pytest.mark.parametrize("mask_padding", [True, False])
def test_the_loss_is_the_sum_of_its_parts(corpus, mask_padding):
    trainer = make_trainer(corpus, local={"loss": 0.3, "mask_padding": mask_padding}, ker={"weight": 0.7})
    model, batch = trainer.model.eval(), trainer.feed.batch(ROWS)
    record = trainer.task(batch)
    images, texts = model.image(batch.images), model.text(batch.texts)
    S = global_similarity(texts.pooled, images.pooled)
    scale = math.exp(trainer.config.train.logit_scale)
    L = scale * local_similarity(texts.tokens, images.tokens, texts.padding if mask_padding else None)
    everyone = torch.ones(len(ROWS), dtype=torch.bool)
    expected = retrieval_loss(S, L, everyone, everyone, scale, 0.3)
    torch.testing.assert_close(record["loss_retrieval"], expected)
    torch.testing.assert_close(record["loss"], expected + 0.7 * record["loss_keywords"])
    torch.testing.assert_close(record["global"], S.diagonal())
    torch.testing.assert_close(record["local"], L.diagonal())
    assert texts.padding.shape[1] == (texts.tokens.shape[1] if mask_padding else model.tokenizer.context_length)


def test_dropped_pairs_are_no_anchors(corpus):
    trainer = make_trainer(corpus, ker={"enabled": False})
    batch = trainer.feed.batch(ROWS)
    trainer.task.eval()
    first = trainer.task(batch)
    trainer.task.elimination.start_epoch(1)
    second = trainer.task(batch)
    for name in ("global", "local"):
        assert not first[f"dropped_{name}"].any()
        threshold = first[name].sort().values[int(0.2 * len(ROWS))]
        assert second[f"dropped_{name}"].equal(second[name] <= threshold) and second[f"dropped_{name}"].sum() == 5
    assert second["loss"] != first["loss"]


def test_parts_that_are_off_leave_no_trace(corpus):
    trainer = make_trainer(corpus, eba={"scheme": "none"}, ker={"enabled": False}, local={"loss": 0})
    record = trainer.task(trainer.feed.batch(ROWS))
    assert set(record) == {"loss", "loss_retrieval", "global", "dropped_global"}
    assert record["loss"] == record["loss_retrieval"] and not record["dropped_global"].any()
    assert not list(trainer.task.state_dict().keys() - {f"model.{name}" for name in trainer.model.state_dict()})


def test_dropout_is_the_same_with_tokens_and_without(corpus):
    """Of kept features and in the heads: a step with keyword reasoning scores the same pooled features."""
    values = []
    for enabled in (True, False):
        train = FROZEN["train"] | {"feature_dropout": 0.5}
        trainer = make_trainer(corpus, model=FROZEN["model"], train=train, local={"loss": 0}, ker={"enabled": enabled})
        trainer.task.train()
        values += [trainer.task(trainer.feed.batch(ROWS)._replace(seed=seed))["global"] for seed in (1, 1, 2)]
    assert torch.equal(values[0], values[1]) and not torch.equal(values[1], values[2])
    assert all(map(torch.equal, values[:3], values[3:]))
