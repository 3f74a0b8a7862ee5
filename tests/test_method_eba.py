from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import section
from hypothesis import given
from hypothesis import strategies as st

from iebaker.config.params import EbaParams
from iebaker.method.eba import Elimination, SimilarityBank
from iebaker.method.objective import keyword_loss, retrieval_loss
from iebaker.method.similarity import global_similarity

PARITY = Path(__file__).parent / "fixtures" / "parity"
SCALE = float(np.exp(2.996))
SCHEMES = {"joint": "coupled", "split": "decoupled"}


def load(name):
    return {key: torch.from_numpy(np.asarray(value)) for key, value in np.load(PARITY / f"{name}.npz").items()}


def close(ours, expected):
    torch.testing.assert_close(ours, expected.to(ours.dtype), rtol=0, atol=1e-6 * float(expected.abs().max()))


def elimination(threshold_global=None, threshold_local=None, epoch=0, **params):
    """One that starts its epoch with these thresholds, because its banks hold nothing else."""
    if params.get("scheme") == "none":
        return Elimination(None, 50)
    result = Elimination(
        section(EbaParams, **{"drop_ratio": 0.1, "start_epoch": 0, "bank_size": "epoch", **params}), 50
    )
    banks = (result.bank_global, threshold_global), (result.bank_local, threshold_local)
    for bank, threshold in banks:
        if threshold is not None:
            bank.enqueue(torch.tensor([threshold]))
    result.start_epoch(epoch)
    return result


def objective(data, features, local, masks):
    S = global_similarity(data["text_features"], features)
    keep = masks.masks(S.diagonal(), local.diagonal())
    masked = data["mlm_labels"] != 0
    keywords = keyword_loss(data["mlm_scores"][masked], data["mlm_labels"][masked])
    return retrieval_loss(S, local, *keep, SCALE) + 0.5 * keywords


def exact_gradients(data, features, local, keep_global, keep_local):
    """The same objective in float64, written again: what float32 can be measured against."""
    features, local = (values.detach().double().requires_grad_() for values in (features, local))
    text = F.normalize(data["text_features"].double(), dim=-1)
    anchors = torch.arange(len(local))
    for values, keep in ((SCALE * text @ F.normalize(features, dim=-1).T, keep_global), (local, keep_local)):
        for rows in (values, values.T):
            F.cross_entropy(rows[keep], anchors[keep]).backward(retain_graph=True)
    return features.grad, local.grad


@pytest.mark.parametrize("epoch", [0, 3, 4, 6])
@pytest.mark.parametrize("published", ["joint", "split"])
def test_parity_of_the_objective_and_its_gradients(published, epoch):
    """Gradients are no further from the exact ones than twice the published code's, which float32 rounds too."""
    data = load("objective")
    start = int(data["drop_epoch"])
    thresholds = float(data["threshold_global"]), float(data["threshold_local"])
    masks = elimination(*thresholds, epoch=epoch, scheme=SCHEMES[published], start_epoch=start)
    features, local = data["image_features"].requires_grad_(), data["local"].requires_grad_()
    loss = objective(data, features, local, masks)
    loss.backward()
    name = f"{published}_epoch{epoch}"
    close(loss.detach(), data[name])
    positives = global_similarity(data["text_features"], features.detach()).diagonal(), local.detach().diagonal()
    keep = elimination(*thresholds, epoch=epoch, scheme=SCHEMES[published], start_epoch=start).masks(*positives)
    exact = exact_gradients(data, features, local, *keep)
    for ours, kind, expected in zip((features.grad, local.grad), ("image", "local"), exact, strict=True):
        largest = float(expected.abs().max())
        theirs = float((data[f"{name}_grad_{kind}"] - expected).abs().max())
        assert theirs < 1e-4 * largest
        assert float((ours - expected).abs().max()) < 2 * max(theirs, 1e-6 * largest)


@pytest.mark.parametrize("published", ["joint", "split"])
def test_parity_when_every_pair_is_below_the_thresholds(published):
    data = load("objective")
    masks = elimination(1e6, 1e6, scheme=SCHEMES[published])
    close(objective(data, data["image_features"], data["local"], masks), data[f"{published}_all_below"])


@pytest.mark.parametrize("kind", ["filled", "reference"])
def test_parity_of_the_banks(kind):
    data = load("similarity_bank")
    ours = Elimination(
        section(EbaParams, bank=kind, bank_size=50, scheme="decoupled", drop_ratio=0.1, start_epoch=0), 1
    )
    if kind == "reference":
        ours.load_state_dict({"global": data["initial_global"], "local": data["initial_local"]})
    for step in range(9):
        S = global_similarity(data["texts"][step], data["images"][step])
        ours.masks(S.diagonal(), data["locals"][step].diagonal())
        for bank, name in ((ours.bank_global, "global_after"), (ours.bank_local, "local_after")):
            close(bank.values, data[name][step][-len(bank.values) :])
    assert len(ours.bank_global.values) == 50
    ours.start_epoch(0)
    close(torch.tensor(ours.threshold_global), data["threshold_global"])
    assert ours.threshold_local == data["threshold_local"].item()


def test_filled_ignores_what_was_never_enqueued_and_reference_counts_noise():
    generator = torch.Generator().manual_seed(0)
    filled, reference = (SimilarityBank(1000, kind, generator) for kind in ("filled", "reference"))
    assert filled.threshold(0.5) == float("-inf") and len(reference.values) == 1000
    for bank in (filled, reference):
        bank.enqueue(torch.arange(100.0))
    assert filled.threshold(0.0) == float("-inf")
    assert [filled.threshold(ratio) for ratio in (0.01, 0.5, 0.999)] == [1.0, 50.0, 99.0]
    assert reference.threshold(0.1) < 0 and len(reference.values) == 1000


@given(st.lists(st.integers(1, 9), max_size=8), st.integers(1, 12))
def test_bank_holds_the_last_entries_in_order(batches, size):
    bank, everything = SimilarityBank(size, "filled"), torch.arange(float(sum(batches)))
    for values in everything.split(batches) if batches else ():
        bank.enqueue(values)
    assert bank.values.tolist() == everything.tolist()[-size:]


@pytest.mark.parametrize("drop_ratio", [0.01, 0.15, 0.5])
def test_share_dropped_matches_drop_ratio_once_the_bank_is_full(drop_ratio):
    generator = torch.Generator().manual_seed(1)
    ours = Elimination(section(EbaParams, scheme="decoupled", drop_ratio=drop_ratio, start_epoch=1), 4000)
    for epoch in range(3):
        ours.start_epoch(epoch)
        keep = [torch.stack(ours.masks(*torch.randn(2, 100, generator=generator))) for _ in range(40)]
        dropped_global, dropped_local = 1 - torch.cat(keep, dim=1).float().mean(dim=1)
        expected = drop_ratio if epoch else 0
        # 4,000 draws of a share, twice: the bank's and the epoch's
        tolerance = 5 * (2 * expected * (1 - expected) / 4000) ** 0.5
        assert dropped_global.item() == pytest.approx(expected, abs=tolerance)
        assert dropped_local.item() == pytest.approx(expected, abs=tolerance)


def test_thresholds_stay_fixed_within_an_epoch_and_dropped_pairs_are_enqueued():
    ours = elimination(0.5, 5.0, scheme="decoupled")
    keep_global, keep_local = ours.masks(torch.tensor([0.4, 0.5, 0.6]), torch.tensor([7.0, 5.0, 4.0]))
    assert keep_global.tolist() == [False, False, True] and keep_local.tolist() == [True, False, False]
    assert (ours.threshold_global, ours.threshold_local) == (0.5, 5.0)
    # a threshold that decides nothing is none
    assert elimination(0.5, 5.0, scheme="coupled").threshold_local == float("-inf")
    assert ours.bank_global.values.tolist() == pytest.approx([0.5, 0.4, 0.5, 0.6])


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=8), st.floats(-1, 1, width=32))
def test_decoupled_with_equal_masks_equals_coupled(values, threshold):
    positive = torch.tensor(values)
    coupled = elimination(threshold, -1e6, scheme="coupled").masks(positive, 3 * positive)
    decoupled = elimination(threshold, 3 * threshold, scheme="decoupled").masks(positive, 3 * positive)
    assert all(torch.equal(ours, coupled[0]) for ours in (*coupled, *decoupled))
    logits = torch.randn(2, len(values), len(values))
    assert torch.equal(retrieval_loss(*logits, *coupled, SCALE), retrieval_loss(*logits, *decoupled, SCALE))


@pytest.mark.parametrize(("scheme", "epoch"), [("none", 9), ("coupled", 3), ("decoupled", 3)])
def test_nothing_is_dropped_without_scheme_or_before_the_start(scheme, epoch):
    ours = elimination(1e6, 1e6, epoch=epoch, scheme=scheme, start_epoch=4)
    keep_global, keep_local = ours.masks(torch.zeros(3), torch.zeros(3))
    assert keep_global.all() and keep_local.all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("scheme", ["none", "coupled", "decoupled"])
def test_empty_bank_and_batch_of_one_are_finite(scheme, dtype):
    ours = elimination(scheme=scheme)
    for size in (1, 4):
        S, L = torch.randn(2, size, size, dtype=dtype, requires_grad=True)
        masks = ours.masks(S.diagonal(), L.diagonal())
        assert masks[0].all() and masks[1].all()
        assert retrieval_loss(S, L, *masks, SCALE).isfinite()
    alone = elimination(1e6, 1e6, scheme=scheme).masks(torch.zeros(1, dtype=dtype), None)
    assert alone[0].tolist() == alone[1].tolist() == [True]


def test_state_resumes_the_same_thresholds():
    generator = torch.Generator().manual_seed(2)
    first = Elimination(section(EbaParams, drop_ratio=0.2, start_epoch=1, scheme="decoupled", bank_size="epoch"), 30)
    for _ in range(5):
        first.masks(*torch.randn(2, 8, generator=generator))
    second = Elimination(first.params, 30)
    second.load_state_dict(first.state_dict())
    for each in (first, second):
        each.start_epoch(1)
    assert first.threshold_global == second.threshold_global > float("-inf")
    assert first.threshold_local == second.threshold_local > float("-inf")
