from pathlib import Path

import numpy as np
import pytest

from iebaker.training.schedule import learning_rate, warmup_of

PARITY = Path(__file__).parent / "fixtures" / "parity"


def test_parity_with_the_published_schedule():
    data = np.load(PARITY / "learning_rate.npz")
    base, warmup, total = float(data["base"]), int(data["warmup"]), int(data["total"])
    ours = [learning_rate(int(step), base, warmup, total) for step in data["steps"]]
    np.testing.assert_allclose(ours, data["lr"], rtol=0, atol=1e-6 * data["lr"].max())


@pytest.mark.parametrize(("warmup", "total"), [(0, 1), (0, 10), (1, 2), (5, 100)])
def test_rises_to_base_then_falls_towards_zero(warmup, total):
    rates = np.array([learning_rate(step, 2.0, warmup, total) for step in range(total)])
    assert rates.max() == 2.0 and (rates > 0).all()
    assert (np.diff(rates[:warmup]) > 0).all() and (np.diff(rates[warmup:]) < 0).all()
    assert learning_rate(total, 2.0, warmup, total) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("total", [1, 9, 10, 200, 2000])
def test_warmup_leaves_most_of_a_short_run_to_the_cosine(total):
    assert warmup_of(200, total) == min(200, total // 10) < total
    assert warmup_of(0, total) == 0
