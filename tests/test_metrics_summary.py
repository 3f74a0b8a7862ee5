import json

import numpy as np
import pytest

from iebaker.metrics.recall import Hits
from iebaker.metrics.summary import SplitMetrics

SCORE_KEYS = ["mR", "mR_std", "mR_low", "mR_high", "i2t_R@1", "i2t_R@5", "i2t_R@10", "t2i_R@1", "t2i_R@5", "t2i_R@10"]


@pytest.fixture
def split():
    captions = [f"image {i // 2} caption {j}" for i in range(30) for j in range(4)]  # images in pairs share all
    return SplitMetrics(np.repeat(np.arange(30), 4), captions)


def matrices(seeds):
    return [np.random.default_rng(seed).normal(size=(120, 30)).astype(np.float32) for seed in range(seeds)]


def test_schema(split):
    collected = {}
    for scores in matrices(3):
        both = split.measure("plain", scores, scores) | split.measure("sar", scores, scores)
        for name, measured in both.items():
            collected.setdefault(name, []).append(measured)
    result = split.summary(collected)
    assert list(result) == ["plain", "plain_lenient", "sar", "sar_lenient", "ceiling", "ceiling_tied"]
    assert all(list(result[name]) == SCORE_KEYS for name in collected)
    assert result["plain"] == result["sar"]
    assert result["plain_lenient"]["mR"] > result["plain"]["mR"]
    assert result["plain"]["mR_low"] < result["plain"]["mR"] < result["plain"]["mR_high"]
    assert result["ceiling_tied"]["t2i_R@1"] == 50.0
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_one_seed_has_no_deviation_and_seeds_have_the_sample_one(split):
    one = Hits(np.full((30, 3), 0.5), np.full((120, 3), 0.5))
    two = Hits(np.full((30, 3), 0.6), np.full((120, 3), 0.6))
    assert split.summary({"plain": [one]})["plain"]["mR_std"] is None
    both = split.summary({"plain": [one, two]})["plain"]
    assert both["mR"] == 55.0 and both["mR_std"] == pytest.approx(7.0711, abs=1e-4)


def test_without_captions_only_strict_numbers():
    split = SplitMetrics(np.repeat(np.arange(30), 4))
    scores = matrices(1)[0]
    measured = split.measure("plain", scores, scores)
    assert list(measured) == ["plain"]
    assert list(split.summary({name: [one] for name, one in measured.items()})) == ["plain"]
