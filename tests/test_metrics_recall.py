import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iebaker.metrics.recall import RANKS, hits, image_to_text_hits, recalls, relevance, text_to_image_hits

FIXTURES = Path(__file__).parent / "fixtures" / "parity"
SHARED = Path(os.environ.get("IEBAKER_SHARED", Path(__file__).parents[2] / "shared"))


@st.composite
def tied_scores(draw):
    """Few distinct values, so that ties are everywhere; 1 to 4 captions an image, some strings shared."""
    captions = draw(st.lists(st.integers(1, 4), min_size=1, max_size=9))
    owner = np.repeat(np.arange(len(captions)), captions)
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    dtype = draw(st.sampled_from([np.float16, np.float32, np.float64]))
    scores = generator.integers(0, draw(st.integers(1, 5)), (len(owner), len(captions))).astype(dtype)
    strings = [f"caption {number}" for number in generator.integers(0, 2 * len(owner), len(owner))]
    return scores, generator.permutation(owner), strings


def naive(scores, relevant, ranks):
    """Hits without ties: sort, look."""
    order = np.argsort(-scores.astype(float), axis=1, kind="stable")
    return np.array([[relevant[i, order[i, :k]].any() for k in ranks] for i in range(len(scores))], float)


@settings(max_examples=40, deadline=None)
@given(tied_scores(), st.booleans())
def test_expectation_is_the_average_over_random_tie_breaking(case, lenient):
    scores, owner, strings = case
    relevant = relevance(owner, strings if lenient else None)
    ranks = (1, 2, 5)
    generator = np.random.default_rng(0)
    both = [(text_to_image_hits(scores, relevant, ranks), scores, relevant.toarray()),
            (image_to_text_hits(scores, relevant, ranks), scores.T, relevant.toarray().T)]  # fmt: skip
    for expected, matrix, mask in both:
        rounds = [naive(matrix + generator.random(matrix.shape) / 2, mask, ranks) for _ in range(300)]
        assert np.abs(expected - np.mean(rounds, axis=0)).max() < 0.16  # > 5 standard errors of a coin


@settings(max_examples=60, deadline=None)
@given(tied_scores(), st.booleans(), st.integers(0, 2**32))
def test_order_of_rows_and_columns_does_not_matter(case, lenient, seed):
    scores, owner, strings = case
    generator = np.random.default_rng(seed)
    rows, columns = generator.permutation(scores.shape[0]), generator.permutation(scores.shape[1])
    new_column = np.argsort(columns)
    strings = strings if lenient else None
    relevant = relevance(owner, strings)
    moved = relevance(new_column[owner[rows]], strings and [strings[row] for row in rows])
    shuffled = scores[rows][:, columns]
    assert (text_to_image_hits(shuffled, moved) == text_to_image_hits(scores, relevant)[rows]).all()
    assert (image_to_text_hits(shuffled, moved) == image_to_text_hits(scores, relevant)[columns]).all()


@settings(max_examples=40, deadline=None)
@given(tied_scores())
def test_lenient_is_at_least_strict_and_recall_grows_with_k(case):
    scores, owner, strings = case
    strict, lenient = hits(scores, scores, relevance(owner)), hits(scores, scores, relevance(owner, strings))
    for ours, theirs in zip(strict, lenient, strict=True):
        assert (np.diff(ours, axis=1) >= -1e-12).all() and ours.min() >= 0 and ours.max() <= 1
        assert (theirs >= ours - 1e-12).all()
    values = recalls(strict)
    assert values["mR"] == pytest.approx(np.mean([value for key, value in values.items() if key != "mR"]))


def test_lenient_relevance_is_caption_identity():
    relevant = relevance(np.array([0, 0, 1, 1, 2]), ["port", "ships", "port", "boats", "boats"]).toarray()
    assert (relevant == [[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 1], [0, 1, 1]]).all()


def test_all_scores_equal_is_chance():
    owner = np.repeat(np.arange(20), 5)
    values = recalls(hits(np.zeros((100, 20)), np.zeros((100, 20)), relevance(owner)))
    assert values["t2i_R@1"] == pytest.approx(5) and values["t2i_R@10"] == pytest.approx(50)
    assert values["i2t_R@1"] == pytest.approx(5)
    miss = np.prod([(95 - drawn) / (100 - drawn) for drawn in range(10)])
    assert values["i2t_R@10"] == pytest.approx(100 * (1 - miss))


def test_agrees_with_clip_benchmark():
    fixture = np.load(FIXTURES / "retrieval_metrics.npz")
    scores = fixture["scores_text_by_image"]
    values = recalls(hits(scores, scores, relevance(fixture["text_to_image"])))
    for rank in RANKS:
        assert values[f"i2t_R@{rank}"] == pytest.approx(float(fixture[f"image2text_R@{rank}"]), abs=1e-5)
        assert values[f"t2i_R@{rank}"] == pytest.approx(float(fixture[f"text2image_R@{rank}"]), abs=1e-5)
    assert values["mR"] == pytest.approx(float(fixture["mean_recall"]), abs=1e-5)


def test_agrees_with_ir_measures():
    import ir_measures

    generator = np.random.default_rng(3)
    scores, owner = generator.normal(size=(60, 15)), generator.permutation(np.repeat(np.arange(15), 4))
    relevant = relevance(owner)
    for matrix, mask, ours in (
        (scores, relevant.toarray(), text_to_image_hits(scores, relevant)),
        (scores.T, relevant.toarray().T, image_to_text_hits(scores, relevant)),
    ):
        run = {str(q): {str(item): float(score) for item, score in enumerate(row)} for q, row in enumerate(matrix)}
        qrels = {str(q): {str(item): int(hit) for item, hit in enumerate(row)} for q, row in enumerate(mask)}
        measures = [ir_measures.Success @ rank for rank in RANKS]
        theirs = ir_measures.calc_aggregate(measures, qrels, run)
        assert ours.mean(axis=0) == pytest.approx([theirs[measure] for measure in measures])


@pytest.mark.parametrize(("split", "expected", "as_hits", "as_misses"),
                         [("val", 17.89, 20.70, 16.26), ("test", 19.25, 19.98, 18.62)])  # fmt: skip
def test_real_matrix(split, expected, as_hits, as_misses):
    path = SHARED / "similarity" / f"rsicd_{split}.npy"
    if not path.exists():
        pytest.skip(f"{path} is absent; set IEBAKER_SHARED")
    scores = np.load(path, mmap_mode="r")
    owner = np.arange(len(scores)) // 5
    relevant = relevance(owner)
    assert recalls(hits(scores, scores, relevant))["mR"] == pytest.approx(expected, abs=0.005)
    nudged = scores.astype(np.float64)
    nudged[np.arange(len(owner)), owner] += 1e-9
    assert recalls(hits(nudged, nudged, relevant))["mR"] == pytest.approx(as_hits, abs=0.005)
    nudged[np.arange(len(owner)), owner] -= 2e-9
    assert recalls(hits(nudged, nudged, relevant))["mR"] == pytest.approx(as_misses, abs=0.005)


def test_memory_mapped_in_several_blocks(tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    scores = generator.integers(0, 9, (200, 40)).astype(np.float16)
    relevant = relevance(np.repeat(np.arange(40), 5))
    whole = hits(scores, scores, relevant)
    np.save(tmp_path / "scores.npy", scores)
    monkeypatch.setattr("iebaker.metrics.recall.BLOCK_BYTES", 40 * 8 * 7)
    mapped = np.load(tmp_path / "scores.npy", mmap_mode="r")
    for ours, theirs in zip(whole, hits(mapped, mapped, relevant), strict=True):
        assert (ours == theirs).all()


def test_what_cannot_be_ranked_is_refused():
    relevant = relevance(np.repeat(np.arange(4), 2))
    scores = np.zeros((8, 4))
    scores[5, 2] = np.nan
    with pytest.raises(ValueError, match=r"row 5 \(text\), column 2 \(image\) is nan"):
        text_to_image_hits(scores, relevant)
    with pytest.raises(ValueError, match="looks transposed"):
        image_to_text_hits(scores.T, relevant)
    with pytest.raises(ValueError, match="image 1 has no text"):
        relevance(np.array([0, 2]))
    with pytest.raises(ValueError, match="3 captions for 2 texts"):
        relevance(np.array([0, 1]), ["a", "b", "c"])


def test_integers_and_infinities_rank():
    scores = np.array([[3, 1], [2, 2]])
    assert text_to_image_hits(scores, relevance(np.array([0, 1])), (1,)).ravel().tolist() == [1.0, 0.5]
    masked = np.array([[np.inf, 0.0], [-np.inf, 1.0]])
    assert recalls(hits(masked, masked, relevance(np.array([0, 1]))))["mR"] == 100
    assert json.dumps(recalls(hits(masked, masked, relevance(np.array([0, 1])))), allow_nan=False)
