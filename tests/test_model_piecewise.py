"""Towers where nothing trains: pieces on all cores."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from training_fixtures import config

from iebaker.model import factory
from iebaker.model.encoding import encode


@pytest.fixture(scope="module")
def model():
    return factory.create(config().model)


@pytest.mark.parametrize("count", [1, 4, 11])
def test_features_do_not_depend_on_the_number_of_threads(model, rng, count):
    images = list(rng.integers(0, 255, (count, 32, 32, 3), np.uint8))
    found, threads = [], torch.get_num_threads()
    try:
        for torch_threads in (1, 3):
            torch.set_num_threads(torch_threads)
            found.append(encode(model.image, images))
            with ThreadPoolExecutor(1) as later:
                assert later.submit(torch.get_num_threads).result() == torch.get_num_threads() == torch_threads
    finally:
        torch.set_num_threads(threads)
    assert all(map(torch.equal, *found))
    with torch.no_grad():
        together = model.image(model.image.reader.inputs(images, model.image.device))
    torch.testing.assert_close(found[0].pooled, together.pooled, rtol=1e-4, atol=1e-5)


def test_pieces_keep_the_order_and_need_no_gradients(model):
    pieces = list(model.text.piecewise(lambda rows: (rows, torch.is_grad_enabled()), 100))
    assert np.concatenate([rows for rows, _ in pieces]).tolist() == list(range(100))
    assert len(pieces) > 1 and not any(enabled for _, enabled in pieces) and torch.is_grad_enabled()


def test_an_error_in_a_piece_is_the_callers(model):
    with pytest.raises(ZeroDivisionError):
        list(model.image.piecewise(lambda rows: 1 // (int(rows[0]) - 4), 9))
