from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iebaker.retrieval.rerank import members

FIXTURE = Path(__file__).parent / "fixtures" / "parity" / "reverse_rerank.npz"
DIRECTIONS = ("image_to_text", "text_to_image")
SETTINGS = [
    (members.none, {}),
    (members.sort, {"candidates": 7}),
    (members.weighted, {"candidates": 7, "weight_forward": 1.0, "weight_reverse": 0.7, "decay": 0.05}),
    (members.soft, {"strength": 0.5, "beta": 4.0}),
    (members.soft, {"strength": np.inf, "beta": 4.0}),
    (members.sinkhorn, {"beta": 4.0, "iterations": 12}),
]
TRANSDUCTIVE = pytest.mark.parametrize(("member", "parameters"), SETTINGS[1:])
BOTH_WAYS = pytest.mark.parametrize("direction", DIRECTIONS)


def random_scores(texts=60, images=12, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).normal(size=(texts, images)).astype(dtype)


def queries_first(matrix, direction):
    return matrix if direction == "text_to_image" else matrix.T


def rank_matrix(matrix):
    """Order of every query's items, as comparisons of value: (query, item, item) in {-1, 0, 1}."""
    return np.sign(matrix[:, :, None] - matrix[:, None, :])


@pytest.mark.parametrize(("number", "forward", "reverse"), [(10, 1.0, 0.7), (15, 0.3, 1.1)])
@pytest.mark.parametrize(("key", "direction"), [("i2t", "image_to_text"), ("t2i", "text_to_image")])
def test_weighted_is_galr(number, forward, reverse, key, direction):
    fixture = np.load(FIXTURE)
    theirs = fixture[f"{key}_K{number}_W1_{forward}_W2_{reverse}"].T
    scores = fixture["similarity_image_by_text"].T
    ours = members.weighted(scores, direction, number, forward, reverse, decay=0.05)
    chosen = theirs != 0
    assert (queries_first(chosen, direction).sum(axis=1) == number).all()
    assert np.abs(ours - theirs)[chosen].max() <= 1e-6 * np.abs(theirs).max()
    assert ours[chosen].min() >= 0 > ours[~chosen].max()


def test_sort_is_the_published_order():
    fixture = np.load(FIXTURE)
    ours = members.sort(fixture["similarity_image_by_text"].T, "image_to_text", candidates=10)
    assert (np.argsort(-ours.T, axis=1, kind="stable") == fixture["sort_i2t_K10_order"]).all()


def naive_positions(queries, number):
    """C_i in forward order, and r of each, straight from method.md."""
    for row in queries:
        top = np.argsort(-row, kind="stable")[:number]
        rho = [1 + (queries[:, c] > row[c]).sum() for c in top]
        yield top, np.argsort(np.argsort(rho, kind="stable"), kind="stable") + 1


@BOTH_WAYS
def test_candidate_members_against_a_loop(direction):
    scores = random_scores(dtype=np.float64)
    queries = queries_first(scores, direction)
    by_sort = queries_first(members.sort(scores, direction, 7), direction)
    by_weight = queries_first(members.weighted(scores, direction, 7, 0.3, 1.1, 0.05), direction)
    shifted = queries - queries.min()
    for i, (top, position) in enumerate(naive_positions(queries, 7)):
        rest = np.setdiff1d(np.argsort(-queries[i]), top)
        behind = rest[np.argsort(-queries[i, rest])]
        assert np.argsort(-by_sort[i]).tolist() == [*top[np.argsort(position)], *behind]
        expected = 0.3 * shifted[i, top] / shifted[:, top].sum(axis=0)
        expected += np.exp(-0.05 * np.arange(1, 8)) + 1.1 * np.exp(-0.05 * position)
        assert by_weight[i, top] == pytest.approx(expected)
        assert np.argsort(-by_weight[i, behind]).tolist() == list(range(len(behind))) and by_weight[i, behind].max() < 0


@BOTH_WAYS
def test_soft_and_querybank_against_the_formula(direction):
    scores, bank = random_scores(dtype=np.float64), random_scores(60, 12, 1, np.float64)
    block = {"text_to_image": bank[:25], "image_to_text": bank[:, :5]}[direction]
    axis = 0 if direction == "text_to_image" else 1
    for member, extra, reference in ((members.soft, {}, scores), (members.querybank, {"bank": block}, block)):
        log_probability = 3 * scores - np.log(np.exp(3 * reference).sum(axis=axis, keepdims=True))
        assert member(scores, direction, 0.4, 3.0, **extra) == pytest.approx(scores + 0.4 * log_probability)
        assert member(scores, direction, np.inf, 3.0, **extra) == pytest.approx(log_probability)


def test_sinkhorn_balances_both_sides():
    plan = np.exp(members.sinkhorn(random_scores(dtype=np.float64), "text_to_image", beta=1.5, iterations=200))
    assert plan.sum(axis=1) == pytest.approx(np.ones(60), rel=1e-4)
    assert plan.sum(axis=0) == pytest.approx(np.full(12, 5.0), rel=1e-4)


def test_sinkhorn_survives_extreme_temperatures():
    for beta in (1e-6, 1e5):
        assert np.isfinite(members.sinkhorn(random_scores(), "image_to_text", beta, 5)).all()


@BOTH_WAYS
@TRANSDUCTIVE
def test_identical_captions_keep_identical_scores(member, parameters, direction):
    # more rows and columns than fit one vector register or summation block, duplicates far apart
    distinct = random_scores(700, 131, seed=4)
    source = np.r_[np.arange(700), np.random.default_rng(0).integers(0, 700, 300)]
    result = member(distinct[source], direction, **parameters)
    assert (result[700:] == result[source[700:]]).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.booleans())
@BOTH_WAYS
@TRANSDUCTIVE
def test_order_of_rows_and_columns_does_not_matter(member, parameters, direction, seed, tied):
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, (30, 9)).astype(float) if tied else generator.normal(size=(30, 9))
    rows, columns = generator.permutation(30), generator.permutation(9)
    moved = member(scores[rows][:, columns], direction, **parameters)
    expected = member(scores, direction, **parameters)[rows][:, columns]
    assert moved == pytest.approx(expected, abs=1e-5)


@BOTH_WAYS
def test_querybank_judges_each_query_alone(direction):
    scores = random_scores()
    bank = {"text_to_image": random_scores(25, 12, 1), "image_to_text": random_scores(60, 5, 1)}[direction]
    few = slice(3, 8)
    some = (few, slice(None)) if direction == "text_to_image" else (slice(None), few)
    whole = members.querybank(scores, direction, 0.5, 4.0, bank)
    assert (members.querybank(np.ascontiguousarray(scores[some]), direction, 0.5, 4.0, bank) == whole[some]).all()
    with pytest.raises(ValueError, match="bank has"):
        members.querybank(scores, direction, 0.5, 4.0, bank[:, :-1] if direction == "text_to_image" else bank[:-1])


@BOTH_WAYS
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize(("member", "parameters"), SETTINGS)
def test_memory_mapped_in_blocks_gives_the_same(member, parameters, direction, dtype, tmp_path, monkeypatch):
    scores = random_scores(dtype=dtype)
    np.save(tmp_path / "scores.npy", scores)
    whole = member(scores, direction, **parameters)
    monkeypatch.setattr("iebaker.metrics.recall.BLOCK_BYTES", 12 * 8 * 5)
    blocks = member(np.load(tmp_path / "scores.npy", mmap_mode="r"), direction, **parameters)
    assert blocks.shape == scores.shape and blocks.dtype == whole.dtype
    assert blocks == pytest.approx(whole, abs=1e-5)


@BOTH_WAYS
@pytest.mark.parametrize(("member", "parameters"), SETTINGS)
def test_half_precision_is_ranked_as_its_exact_values(member, parameters, direction):
    half = random_scores(dtype=np.float16)
    exact = member(half.astype(np.float64), direction, **parameters)
    ours = member(half, direction, **parameters).astype(np.float64)
    assert ours == pytest.approx(exact, abs=1e-4)


@BOTH_WAYS
def test_more_candidates_than_items_and_constant_scores(direction):
    scores = random_scores(8, 4)
    assert np.isfinite(members.sort(scores, direction, 100)).all()
    constant = np.zeros((8, 4), np.float32)
    for member, parameters in SETTINGS:
        assert len(np.unique(member(constant, direction, **parameters).round(6))) == 1


@BOTH_WAYS
@pytest.mark.parametrize("kept", [0, 3])
def test_a_crowd_of_ties_at_the_last_place_stays_behind(direction, kept, monkeypatch):
    """Of a matrix that says 0 of most pairs not everything becomes a candidate, which would be gigabytes."""
    monkeypatch.setattr(members, "MOST_TIED", 5)
    place, best = np.arange(40)[:, None], np.random.default_rng(0).random((40, kept))
    queries = np.zeros((40, 40), np.float32)
    queries[place, (place + np.arange(kept)) % 40] = 1 + best
    queries[:, 0] = -1  # behind the crowd, and stays there
    assert len(members._Candidates(queries, 7).item) == (queries > 0).sum()
    for member, parameters in SETTINGS[1:3]:
        found = queries_first(member(queries_first(queries, direction), direction, **parameters), direction)
        for row, ranked in zip(queries, found, strict=True):
            crowd, last = ranked[row == 0], ranked[row == -1]
            assert np.ptp(crowd) == 0 and (ranked[row > 0] > crowd[0]).all() and (last < crowd[0]).all()
