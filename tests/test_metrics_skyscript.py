import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iebaker.metrics import skyscript
from iebaker.metrics.recall import RANKS, hits, recalls, relevance
from iebaker.metrics.significance import bootstrap_interval


@st.composite
def splits(draw):
    """Captions that repeat, their images, and distinct scores of distinct captions."""
    images = draw(st.integers(2, 12))
    owner = np.array(list(range(images)) + draw(st.lists(st.integers(0, images - 1), max_size=20)))
    captions = [
        f"caption {number}" for number in draw(st.lists(st.integers(0, 8), min_size=len(owner), max_size=len(owner)))
    ]
    seed = draw(st.integers(0, 1000))
    distinct = len(set(captions))
    scores = np.random.default_rng(seed).permutation(distinct * images).reshape(distinct, images).astype(np.float32)
    return captions, owner, scores


def brute_force(captions, owner, scores):
    """The protocol in plain words: sort, look at the first K, count."""
    texts = list(dict.fromkeys(captions))
    has = set(zip(captions, owner.tolist(), strict=True))
    hit = np.array([[(text, image) in has for image in range(scores.shape[1])] for text in texts])
    found = {}
    for direction, values, relevant in (("t2i", scores, hit), ("i2t", scores.T, hit.T)):
        for rank in RANKS:
            tops = [np.argsort(-row)[:rank] for row in values]
            hits_of = [of_query[top].any() for top, of_query in zip(tops, relevant, strict=True)]
            found[f"{direction}_R@{rank}"] = 100 * np.mean(hits_of)
    return found


@given(splits())
def test_recalls_are_those_of_brute_force(split):
    captions, owner, scores = split
    queries = skyscript.merge(captions, owner)
    assert [captions[row] for row in queries.first] == list(dict.fromkeys(captions))
    values = skyscript.summarise(skyscript.measure(scores, queries), queries)
    expected = brute_force(captions, owner, scores)
    assert {key: values[key] for key in expected} == pytest.approx(expected, abs=1e-3)
    assert values["mR"] == pytest.approx((values["i2t_mean"] + values["t2i_mean"]) / 2, abs=1e-3)
    assert values["mR_low"] <= values["mR"] + 1e-3 and values["mR"] <= values["mR_high"] + 1e-3


def test_differs_from_strict_where_images_share_a_caption():
    captions, owner = ["a forest", "a forest", "a port"], np.array([0, 1, 2])
    scores = np.array([[0.9, 0.8, 0.1], [0.2, 0.1, 0.7]])  # of the distinct captions
    strict = recalls(hits(scores[[0, 0, 1]], scores[[0, 0, 1]], relevance(owner)))
    queries = skyscript.merge(captions, owner)
    merged = skyscript.summarise(skyscript.measure(scores, queries), queries)
    # strict: one of two foresters finds its own first, and each of their images ties two captions
    assert (strict["t2i_R@1"], strict["i2t_R@1"]) == (pytest.approx(200 / 3), pytest.approx(200 / 3))
    assert (merged["t2i_R@1"], merged["i2t_R@1"]) == (100, 100)


def test_ties_count_as_expected():
    queries = skyscript.merge(["a", "b"], np.array([0, 1]))
    assert skyscript.summarise(skyscript.measure(np.zeros((2, 2)), queries), queries)["t2i_R@1"] == 50


def test_interval_of_distinct_captions_is_the_strict_one(rng):
    owner = np.repeat(np.arange(30), 2)
    scores = rng.normal(size=(60, 30))
    measured = hits(scores, scores, relevance(owner))
    values = skyscript.summarise(measured, skyscript.merge([f"{row}" for row in range(60)], owner))
    assert (values["mR_low"], values["mR_high"]) == pytest.approx(bootstrap_interval([measured], owner), abs=1e-3)
