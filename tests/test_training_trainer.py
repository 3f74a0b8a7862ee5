import copy

import numpy as np
import pytest
import torch
from training_fixtures import make_trainer

from iebaker.errors import IebakerError
from iebaker.training.gradients import backward


def test_streams_are_independent(corpus):
    """Keyword reasoning changes neither the order of pairs, nor the crops, nor the towers' first weights."""
    with_ker, without = make_trainer(corpus), make_trainer(corpus, ker={"enabled": False})
    for name, values in without.model.state_dict().items():
        assert torch.equal(values, with_ker.model.state_dict()[name]), name
    for trainer in (with_ker, without):
        trainer.run_epoch()
    for name, stream in without.streams.items():
        assert stream.bit_generator.state == with_ker.streams[name].bit_generator.state, name


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_has_the_loss_and_gradients_of_float32(corpus, precision):
    found = []
    for name in ("float32", precision):
        trainer = make_trainer(corpus, train={"precision": name})
        if trainer.scaler.is_enabled():
            # the scale that a training starts with overflows here, and such steps are left out
            trainer.scaler = torch.amp.GradScaler("cpu", init_scale=128.0)
        [batch] = trainer.feed.batches([next(iter(trainer.feed.epoch()))])
        loss = backward(trainer.task.train(), batch, 0, trainer.scaler)["loss"]
        trainer.scaler.unscale_(trainer.optimiser)
        gradients = [values.grad.flatten() for values in trainer.task.parameters() if values.grad is not None]
        found.append((loss.item(), torch.cat(gradients)))
        assert trainer.scaler.is_enabled() is (name == "float16")
    (expected, wanted), (loss, gradient) = found
    assert loss == pytest.approx(expected, rel=0.01)
    assert torch.cosine_similarity(gradient, wanted, dim=0) > 0.99
    trainer.scaler.update()
    before = gradient.new_tensor([values.sum() for values in trainer.task.parameters()])
    trainer.run_epoch()
    assert (gradient.new_tensor([values.sum() for values in trainer.task.parameters()]) != before).any()
    assert all(values.isfinite().all() for values in trainer.task.parameters())


def test_local_similarity_in_bfloat16_trains(corpus):
    trainer = make_trainer(corpus, train={"precision": "bfloat16"}, local={"precision": "bfloat16"})
    assert np.isfinite(trainer.run_epoch()["loss"])


@pytest.mark.parametrize("flush", [True, False])
def test_denormal_numbers_are_nothing_where_asked(corpus, flush):
    make_trainer(corpus, train={"flush_denormals": flush}).run_epoch()
    assert (torch.full((2,), 1e-40) / 2 == 0).all().item() is flush


def test_diverging_loss_says_what_to_do(corpus):
    trainer = make_trainer(corpus)
    with torch.no_grad():
        next(parameter for parameter in trainer.model.parameters() if parameter.requires_grad).fill_(float("nan"))
    with pytest.raises(IebakerError, match="lower train.lr"):
        trainer.run_epoch()


def test_a_device_that_is_not_there_is_refused(corpus):
    with pytest.raises(IebakerError, match="train.device=gpu7"):
        make_trainer(corpus, train={"device": "gpu7"})


def test_restored_state_goes_on_to_the_same_epoch(corpus):
    first, second = make_trainer(corpus), make_trainer(corpus)
    first.run_epoch()
    second.restore(copy.deepcopy(first.state()), first.seen)
    assert first.run_epoch() == second.run_epoch()
    assert all(map(torch.equal, first.task.state_dict().values(), second.task.state_dict().values()))
    assert first.seen.equals(second.seen) and (first.epoch, first.step) == (second.epoch, second.step) == (2, 12)
