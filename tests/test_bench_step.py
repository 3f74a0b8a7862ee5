import pytest
import torch
from training_fixtures import TRANSFORMER

from iebaker.bench import accelerator, naive, step
from iebaker.method.keyword_head import KeywordHead
from iebaker.model import factory

WORKS = "ours", "chunks", "naive", "plain", "bound"


def test_all_works_run_and_the_published_formulation_is_the_same_objective():
    """With padding counted and the whole vocabulary, ours is the naive loss."""
    config = step.published_config(name=TRANSFORMER["model"]["name"])
    counted = config.model_copy(update={"local": config.local.model_copy(update={"mask_padding": False})})
    losses = {name: work() for name, work in step.works(config, 4, *WORKS).items()}
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert losses["chunks"].item() == pytest.approx(losses["ours"].item(), rel=1e-5)

    torch.manual_seed(0)
    model = factory.create(config.model)
    model.read(tokens=True, trim=False)
    pairs = step.draw(4, model.preprocess.size, model.tokenizer.context_length)
    head = KeywordHead(model.embed_dim, step.VOCABULARY, config.ker.layers)
    labels = torch.where(pairs.masked.masked, pairs.texts, 0)
    expected = naive.step_loss(model, head, pairs.images, pairs.texts, pairs.masked.token_ids, labels, 20.0)
    task = step.RetrievalTask(counted, model, step.Elimination(None, 1), head)
    task.scale = 20.0
    masked = step.MaskedCaptions(pairs.masked.token_ids, pairs.masked.masked, pairs.texts[pairs.masked.masked], of=12)
    found = task(step.Batch(pairs.images, pairs.texts, masked, seed=0))["loss"]
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_accelerator_is_measured_where_there_is_one(monkeypatch):
    [row] = accelerator.rows("cpu", batches=(4,), steps=1, name="overhead-tiny")
    assert row.ours > 0 and row.plain > 0 and row.bound > 0
    rate = float(row.note.split(" pairs a second")[0])
    hours = float(row.note.split("take ")[1].split(" h ")[0])
    assert rate == pytest.approx(4 / row.ours, abs=1)
    assert hours == pytest.approx(7 * 191_125 * row.ours / 4 / 3600, rel=0.1)  # RSICD, RSITMD and NWPU, seven epochs
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert list(accelerator.rows()) == []


def test_token_ids_stay_where_the_tower_takes_them_from():
    """A tower pins what it moves to an accelerator, which only a processor's memory can be."""
    pairs = step.draw(2, 8, 77).to(torch.device("meta"))
    assert {pairs.texts.device.type, pairs.masked.token_ids.device.type} == {"cpu"}
    assert {pairs.images.device.type, pairs.masked.masked.device.type, pairs.masked.classes.device.type} == {"meta"}
