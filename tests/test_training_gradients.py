"""Chunks and length groups of a batch give the losses, gradients and decisions of the whole batch."""

import numpy as np
import pytest
import torch
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler
from training_fixtures import FROZEN, QUICK, TRANSFORMER, make_trainer

from iebaker.errors import IebakerError
from iebaker.training.gradients import backward

ROWS = np.arange(20)
LOCKED = {"model": TRANSFORMER["model"] | FROZEN["model"], "train": FROZEN["train"]}


def widest_gap(values):
    """The middle of a gap between values: rounding flips no decision."""
    values = values.detach().sort().values
    below = 4 + values.diff()[4:15].argmax()
    return values[below : below + 2].mean().item()


def outcome(trainer, batch, chunk_size, *thresholds):
    """Losses and decisions of one batch, the gradients, and what the banks hold then."""
    elimination = trainer.task.elimination
    trainer.task.zero_grad()
    elimination.load_state_dict({"global": torch.linspace(-1, 1, 9), "local": torch.linspace(0, 999, 9)})
    elimination.threshold_global, elimination.threshold_local = thresholds
    record = backward(trainer.task, batch, chunk_size, trainer.scaler)
    gradients = {name: values.grad.clone() for name, values in trainer.task.named_parameters() if values.requires_grad}
    return record, gradients, elimination.state_dict()


def assert_same(outcome, expected, tolerance=1e-5):
    for values, wanted in zip(outcome, expected, strict=True):
        torch.testing.assert_close(dict(values), dict(wanted), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    "sections",
    [
        TRANSFORMER,
        TRANSFORMER | {"local": {"mask_padding": False}, "ker": {"mask_ratio": 0.5}},
        TRANSFORMER | {"local": {"loss": 0}},
        TRANSFORMER | {"train": {"positives": "identical"}},
        TRANSFORMER | {"ker": {"enabled": False}},
        LOCKED,
    ],
)
def test_chunks_have_the_gradients_of_the_whole_batch(corpus, sections):
    trainer = make_trainer(corpus, **sections)
    trainer.task.train()
    batch = trainer.feed.batch(ROWS)
    record = trainer.task(batch)
    thresholds = [widest_gap(record[name]) if name in record else 0.0 for name in ("global", "local")]
    record, gradients, banks = outcome(trainer, batch, 0, *thresholds)
    assert all(0 < values.sum() < 20 for name, values in record.items() if name.startswith("dropped"))
    for chunk_size in (6, 19, 64):
        assert_same(outcome(trainer, batch, chunk_size, *thresholds), (record, gradients, banks))


@pytest.mark.parametrize("sections", [TRANSFORMER, TRANSFORMER | {"local": {"loss": 0}, "ker": {"enabled": False}}])
def test_length_groups_have_the_gradients_of_the_whole_batch(corpus, sections, monkeypatch):
    trainer, read = make_trainer(corpus, **sections), []
    trainer.task.train().double()
    text, batch = trainer.model.text, trainer.feed.batch(ROWS)
    batch = batch._replace(images=batch.images.double())
    trunk = text.adapter.trunk
    monkeypatch.setattr(text.adapter, "trunk", lambda ids: read.append(tuple(ids.shape)) or trunk(ids))
    thresholds = [widest_gap(values) for name, values in trainer.task(batch).items() if name in ("global", "local")]
    thresholds = (*thresholds, 0.0)[:2]
    whole = outcome(trainer, batch, 0, *thresholds)
    for groups in (3, 20, 100):
        read.clear()
        text.length_groups = groups
        assert_same(outcome(trainer, batch, 0, *thresholds), whole, 1e-9)
        passes = [read[start : start + min(groups, 20)] for start in range(0, len(read), min(groups, 20))]
        assert len(passes) == 1 + (batch.masked is not None)
        for shapes in passes:
            columns = [width for _, width in shapes]
            assert sum(rows for rows, _ in shapes) == 20 and columns == sorted(columns)
            assert columns[0] < columns[-1] == batch.texts.shape[1]
        assert_same(outcome(trainer, batch, 7, *thresholds), whole, 1e-5)  # the longest caption is in one of the chunks


def test_compiled_towers_have_the_gradients_of_those_as_written(corpus, monkeypatch):
    """Traced, and not translated to machine code, which takes minutes."""
    traced, compiled = [], torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda function: traced.append(function) or compiled(function, backend="eager")
    )
    outcomes = []
    for wanted in (False, True):
        trainer = make_trainer(corpus, **TRANSFORMER, train=QUICK["train"] | {"compile": wanted})
        trainer.task.train().double()
        batch = trainer.feed.batch(ROWS)
        outcomes.append(outcome(trainer, batch._replace(images=batch.images.double()), 0, 0.0, 0.0))
        assert len(traced) == 2 * wanted
    assert_same(*outcomes, 1e-9)


def test_compiling_without_a_compiler_is_refused(corpus, monkeypatch):
    def missing():
        raise InvalidCxxCompiler

    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", missing)
    with pytest.raises(IebakerError, match=r"train\.compile=true needs a C\+\+ compiler; install g\+\+"):
        make_trainer(corpus, **TRANSFORMER, train=QUICK["train"] | {"compile": True})


def test_the_first_chunk_is_encoded_once(corpus, monkeypatch):
    trainer = make_trainer(corpus, **TRANSFORMER)
    encoded, encode = [], trainer.task.encode
    monkeypatch.setattr(trainer.task, "encode", lambda chunk: encoded.append(chunk.seed) or encode(chunk))
    batch = trainer.feed.batch(ROWS)
    backward(trainer.task, batch, 7, trainer.scaler)
    first, second, third = (piece.seed for piece in batch.pieces(7))
    assert encoded == [second, third, first, second, third]


def test_chunks_that_hold_no_keyword_add_nothing(corpus):
    trainer = make_trainer(corpus, **TRANSFORMER)
    batch = trainer.feed.batch(ROWS)
    empty = batch.masked._replace(positions=batch.masked.positions & False, classes=batch.masked.classes[:0], of=0)
    for chunk_size in (0, 7):
        record = backward(trainer.task, batch._replace(masked=empty), chunk_size, trainer.scaler)
        assert record["loss_keywords"] == 0 and record["loss"] == record["loss_retrieval"]
    assert not any(values.grad.any() for values in trainer.task.keyword_head.parameters())


@pytest.mark.parametrize("groups", [1, 4])
def test_chunks_whose_masked_captions_are_all_in_an_earlier_one_add_nothing(corpus, groups):
    trainer = make_trainer(corpus, **TRANSFORMER)
    trainer.task.train()
    trainer.model.text.length_groups = groups
    batch = trainer.feed.batch(ROWS)
    rows, first = torch.arange(5), batch.masked.positions[:5]
    masked = batch.masked._replace(
        texts=batch.masked.texts[:5], positions=first, classes=batch.masked.classes[: first.sum()], pair=rows,
        times=torch.ones(5, dtype=torch.int64),
    )  # fmt: skip
    losses = [backward(trainer.task, batch._replace(masked=masked), size, trainer.scaler)["loss"] for size in (0, 7)]
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)


def test_chunks_draw_their_own_dropout_and_the_same_in_both_passes(corpus):
    """A pass that drew other features than the one before would have wrong gradients."""
    trainer = make_trainer(corpus, **(LOCKED | {"train": FROZEN["train"] | {"feature_dropout": 0.5}}))
    trainer.task.train()
    batch = trainer.feed.batch(ROWS)
    pieces = batch.pieces(5)
    assert len({piece.seed for piece in pieces}) == 4 and pieces[0].seed == batch.seed
    first, second = (trainer.task.encode(pieces[1])[0].pooled for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(trainer.task.encode(pieces[1]._replace(seed=pieces[0].seed))[0].pooled, first)
