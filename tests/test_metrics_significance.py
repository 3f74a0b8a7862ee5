import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iebaker.metrics.recall import Hits, recalls
from iebaker.metrics.significance import bootstrap_interval, compare, holm, image_contributions, permutation_test


def random_hits(generator, owner, rate=0.4):
    images = owner.max() + 1
    draw = lambda queries: (generator.random((queries, 3)) < rate).astype(float)  # noqa: E731
    return Hits(draw(images), draw(len(owner)))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=2, max_size=20), st.integers(0, 2**32))
def test_contributions_average_to_mr(captions, seed):
    owner = np.repeat(np.arange(len(captions)), captions)
    measured = random_hits(np.random.default_rng(seed), owner)
    assert image_contributions(measured, owner).mean() == pytest.approx(recalls(measured)["mR"])


def test_interval_holds_the_mean_and_has_the_width_of_theory():
    generator, owner = np.random.default_rng(0), np.repeat(np.arange(400), 5)
    measured = random_hits(generator, owner)
    low, high = bootstrap_interval([measured], owner)
    assert low < recalls(measured)["mR"] < high
    error = image_contributions(measured, owner).std() / np.sqrt(400)
    assert high - low == pytest.approx(2 * 1.96 * error, rel=0.05)
    assert bootstrap_interval([measured], owner) == (low, high)
    assert bootstrap_interval([measured], owner, seed=1) != (low, high)


def test_captions_of_an_image_move_together():
    owner = np.repeat(np.arange(300), 5)
    of_image = (np.random.default_rng(0).random((300, 1)) < 0.5) * np.ones((1, 3))
    copied = Hits(of_image, of_image[owner])
    low, high = bootstrap_interval([copied], owner)
    assert high - low == pytest.approx(100 * 2 * 1.96 * 0.5 / np.sqrt(300), rel=0.08)


def test_seeds_widen_the_interval():
    generator, owner = np.random.default_rng(0), np.repeat(np.arange(200), 5)
    same = random_hits(generator, owner, 0.4)
    apart = [same, random_hits(generator, owner, 0.7)]
    width = lambda seeds: np.ptp(bootstrap_interval(seeds, owner))  # noqa: E731
    assert width([same, same]) == pytest.approx(width([same]), rel=0.05)
    assert width(apart) > 2 * width([same])


def test_permutation_test_against_scipy():
    from scipy.stats import permutation_test as oracle

    differences = np.random.default_rng(2).normal(0.12, 1, 150)
    theirs = oracle((differences, np.zeros(150)), lambda x, y, axis: (x - y).mean(axis), permutation_type="samples",
                    vectorized=True, n_resamples=9999, random_state=0).pvalue  # fmt: skip
    assert permutation_test(differences) == pytest.approx(theirs, abs=0.02)
    assert permutation_test(differences) == permutation_test(differences)
    assert permutation_test(np.zeros(50)) == 1.0
    assert permutation_test(np.ones(50)) == pytest.approx(1 / 10_001)


def test_permutation_test_keeps_its_level():
    generator = np.random.default_rng(5)
    below = [permutation_test(generator.normal(size=40)) < 0.1 for _ in range(200)]
    assert 0.04 < np.mean(below) < 0.17


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0] and holm([]) == []


def test_trainings_that_disagree_widen_the_interval_of_a_difference():
    generator, owner = np.random.default_rng(0), np.repeat(np.arange(250), 5)
    baseline = [random_hits(generator, owner) for _ in range(2)]
    agreeing = [random_hits(generator, owner, 0.6) for _ in range(2)]
    apart = [random_hits(generator, owner, rate) for rate in (0.4, 0.8)]
    table = compare(baseline, {"agreeing": agreeing, "apart": apart}, owner)
    width = {name: row["high"] - row["low"] for name, row in table.items()}
    # the mean of two drawn trainings lies at either of them, half of the time
    each = [compare(baseline[:1], {"one": [one]}, owner)["one"]["difference"] for one in apart]
    assert width["apart"] == pytest.approx(abs(each[0] - each[1]), abs=6) and width["agreeing"] < 10
    error = image_contributions(agreeing[0], owner) - image_contributions(baseline[0], owner)
    alone = compare(baseline[:1], {"one": agreeing[:1]}, owner)["one"]
    assert alone["high"] - alone["low"] == pytest.approx(2 * 1.96 * error.std() / np.sqrt(250), rel=0.05)


def test_compare_averages_seeds_and_corrects():
    generator, owner = np.random.default_rng(0), np.repeat(np.arange(250), 5)
    baseline = [random_hits(generator, owner) for _ in range(3)]
    better = [random_hits(generator, owner, 0.6) for _ in range(3)]
    table = compare(baseline, {"better": better, "same": baseline}, owner)
    gain = np.mean([recalls(one)["mR"] for one in better]) - np.mean([recalls(one)["mR"] for one in baseline])
    assert table["better"]["difference"] == pytest.approx(gain)
    assert table["better"]["low"] > 0 and table["better"]["p_holm"] == pytest.approx(2 * table["better"]["p"])
    assert table["same"] == {"difference": 0.0, "low": 0.0, "high": 0.0, "p": 1.0, "p_holm": 1.0}
