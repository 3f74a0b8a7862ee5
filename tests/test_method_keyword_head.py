from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iebaker.method.keyword_head import KeywordHead

FIXTURE = Path(__file__).parent / "fixtures" / "parity" / "keyword_head.npz"


@pytest.fixture(scope="module")
def published():
    return dict(np.load(FIXTURE))


@pytest.fixture(scope="module")
def head(published):
    weights = {name[2:]: torch.tensor(value) for name, value in published.items() if name.startswith("w.")}
    vocabulary_size, width = weights["mlm_head.fc.weight"].shape
    layers = len({name.split(".")[2] for name in weights if ".resblocks." in name})
    head = KeywordHead(width, vocabulary_size, layers, heads=int(published["heads"]))
    head.load_state_dict(weights)
    return head


def close(ours, theirs):
    theirs = torch.as_tensor(theirs)
    return (ours - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def inputs(published):
    return torch.tensor(published["masked_text_tokens"]), torch.tensor(published["image_tokens"])


def test_parity_with_the_published_head(head, published):
    text, image = inputs(published)
    assert close(head.fuse(text, image), published["fused"])
    everywhere = torch.ones(text.shape[:2], dtype=torch.bool)
    assert close(head(text, image, everywhere).view(published["scores"].shape), published["scores"])


def test_only_masked_positions_are_scored_in_row_major_order(head, published):
    text, image = inputs(published)
    masked = torch.zeros(text.shape[:2], dtype=torch.bool)
    masked[2, 1] = masked[0, 10] = masked[0, 3] = True
    assert close(head(text, image, masked), published["scores"][[0, 0, 2], [3, 10, 1]])


def test_batch_without_masked_positions_has_finite_gradients():
    head = KeywordHead(64, 5, layers=1)
    text = torch.randn(2, 4, 64, requires_grad=True)
    scores = head(text, torch.randn(2, 3, 64), torch.zeros(2, 4, dtype=torch.bool))
    assert scores.shape == (0, 5)
    scores.sum().backward()
    assert text.grad.eq(0).all()


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (64, 1), (192, 3)])
def test_one_head_for_every_64_channels(width, heads):
    assert KeywordHead(width, 3, layers=0).cross_attn.num_heads == heads


def test_gradients_reach_the_image_tokens():
    head, image = KeywordHead(64, 5), torch.randn(2, 3, 64, requires_grad=True)
    head(torch.randn(2, 4, 64), image, torch.ones(2, 4, dtype=torch.bool)).square().sum().backward()
    assert image.grad.abs().sum() > 0


@given(st.integers(1, 6), st.integers(0, 9), st.integers(0, 99))
def test_scores_do_not_depend_on_the_neighbours_in_the_batch(length, padding, seed):
    """A caption alone scores as beside a longer one, which it is padded for; not so where padding is attended to."""
    torch.manual_seed(seed)
    head = KeywordHead(64, 7, layers=2, heads=2).eval()
    words, patches = torch.randn(2, length + padding, 64), torch.randn(2, 5, 64)
    masked = torch.ones(2, length + padding, dtype=torch.bool)
    padded = masked.clone()
    padded[:, :length] = False
    padded[1] = False
    with torch.no_grad():
        alone = head(words[:1, :length], patches[:1], masked[:1, :length])
        beside = head(words, patches, masked, padded)[:length]
        attended = head(words, patches, masked)[:length]
    torch.testing.assert_close(beside, alone, rtol=1e-4, atol=1e-5)
    assert padding == 0 or not torch.allclose(attended, alone, rtol=1e-4, atol=1e-5)


@given(st.integers(0, 3), st.booleans(), st.integers(0, 99))
def test_what_is_left_out_is_what_no_score_needs(layers, padded, seed):
    """Scores and gradients are those of all positions fused, with an image for each caption."""
    torch.manual_seed(seed)
    head = KeywordHead(64, 7, layers, heads=2)
    words, patches = torch.randn(5, 6, 64, requires_grad=True), torch.randn(3, 4, 64, requires_grad=True)
    image_of, masked = torch.randint(3, (5,)), torch.rand(5, 6) < 0.3
    padding = torch.arange(6) >= torch.randint(1, 7, (5, 1)) if padded else None
    found = head(words, patches, masked, padding, image_of)
    expected = head.mlm_head(head.fuse(words, patches[image_of], padding)[masked])
    weights = [words, patches, *head.parameters()]
    for one, other in zip((found, *gradients(found, weights)), (expected, *gradients(expected, weights)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def gradients(scores, weights):
    return torch.autograd.grad(scores.square().sum(), weights, allow_unused=True, materialize_grads=True)
