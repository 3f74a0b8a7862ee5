import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from iebaker.method.objective import contrastive_loss, keyword_loss, retrieval_loss

SCALE = float(np.exp(2.996))


def test_batch_of_one_and_identical_pairs_are_finite():
    for size in (1, 3):
        similarity = torch.ones(size, size, requires_grad=True)
        every = torch.ones(size, dtype=torch.bool)
        loss = retrieval_loss(similarity, SCALE * similarity, every, every, SCALE)
        loss.backward()
        assert loss.item() == pytest.approx(4 * np.log(size)) and similarity.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_batch_without_keywords_has_loss_and_gradient_zero(dtype):
    scores = torch.zeros(0, 5, dtype=dtype, requires_grad=True)
    weights = torch.randn(5, 5, dtype=dtype, requires_grad=True)
    loss = keyword_loss(scores @ weights, torch.zeros(0, dtype=torch.int64))
    loss.backward()
    assert loss.item() == 0 and (weights.grad == 0).all()


def test_keyword_loss_is_the_mean_over_masked_positions():
    scores, classes = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    expected = -scores.log_softmax(-1)[torch.arange(6), classes].mean()
    torch.testing.assert_close(keyword_loss(scores, classes), expected)


@given(st.integers(2, 7), st.integers(0, 1000))
def test_dropped_anchor_remains_a_negative(size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(size, size, generator=generator, requires_grad=True)
    keep = torch.ones(size, dtype=torch.bool)
    keep[0] = False
    contrastive_loss(logits, keep).backward()
    assert logits.grad[0, 0] == 0
    # text 0 is a negative of the other images, image 0 of the other texts
    assert (logits.grad[0, 1:] > 0).all() and (logits.grad[1:, 0] > 0).all()


@given(st.integers(1, 7), st.integers(0, 1000))
def test_equals_a_sum_over_anchors_and_treats_directions_alike(size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(size, size, generator=generator)
    keep = torch.rand(size, generator=generator) < 0.6
    keep[0] = True
    rows = [-logits[i].log_softmax(0)[i] for i in range(size) if keep[i]]
    columns = [-logits[:, i].log_softmax(0)[i] for i in range(size) if keep[i]]
    torch.testing.assert_close(contrastive_loss(logits, keep), sum(rows) / len(rows) + sum(columns) / len(columns))
    torch.testing.assert_close(contrastive_loss(logits.T, keep), contrastive_loss(logits, keep))


@given(st.integers(1, 7), st.integers(0, 1000))
def test_positives_share_an_anchor_evenly(size, seed):
    generator = torch.Generator().manual_seed(seed)
    logits, group = 3 * torch.randn(size, size, generator=generator), torch.randint(3, (size,), generator=generator)
    positives, keep = group[:, None] == group, torch.rand(size, generator=generator) < 0.6
    keep[0] = True
    rows = [-logits[i].log_softmax(0)[positives[i]].mean() for i in range(size) if keep[i]]
    columns = [-logits[:, i].log_softmax(0)[positives[i]].mean() for i in range(size) if keep[i]]
    expected = sum(rows) / len(rows) + sum(columns) / len(columns)
    torch.testing.assert_close(contrastive_loss(logits, keep, positives), expected)
    own = torch.eye(size, dtype=torch.bool)
    torch.testing.assert_close(contrastive_loss(logits, keep, own), contrastive_loss(logits, keep))


def test_local_part_can_be_weighted_and_switched_off():
    S, L = torch.randn(2, 4, 4)
    every, anchors = torch.ones(4, dtype=torch.bool), torch.arange(4)
    only_global = retrieval_loss(S, None, every, every, SCALE)
    local = F.cross_entropy(L, anchors) + F.cross_entropy(L.T, anchors)
    torch.testing.assert_close(only_global, F.cross_entropy(SCALE * S, anchors) + F.cross_entropy(SCALE * S.T, anchors))
    torch.testing.assert_close(retrieval_loss(S, L, every, every, SCALE), only_global + local)
    torch.testing.assert_close(retrieval_loss(S, L, every, every, SCALE, 0.5), only_global + 0.5 * local)


def test_bfloat16_similarities_give_a_float32_loss():
    S, L = torch.randn(2, 4, 4)
    every = torch.ones(4, dtype=torch.bool)
    loss = retrieval_loss(S.bfloat16(), L.bfloat16(), every, every, SCALE)
    assert loss.dtype == torch.float32 and loss.isfinite()
