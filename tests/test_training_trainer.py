import copy

import numpy as np
import pytest
import torch
from training_fixtures import make_trainer

from iebaker.errors import IebakerError


def test_streams_are_independent(corpus):
    """Keyword reasoning changes neither the order of pairs, nor the crops, nor the towers' first weights."""
    with_ker, without = make_trainer(corpus), make_trainer(corpus, ker={"enabled": False})
    for name, values in without.model.state_dict().items():
        assert torch.equal(values, with_ker.model.state_dict()[name]), name
    for trainer in (with_ker, without):
        trainer.run_epoch()
    for name, stream in without.streams.items():
        assert stream.bit_generator.state == with_ker.streams[name].bit_generator.state, name


def test_bfloat16_trains(corpus):
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
