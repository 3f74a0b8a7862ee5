from pathlib import Path

import numpy as np
import pytest

from iebaker.training.schedule import learning_rate

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


@pytest.mark.parametrize("total", [0, 1, 200])
def test_warmup_that_fills_the_run_is_refused(total):
    with pytest.raises(ValueError, match=rf"warmup_steps=200 .* {total} optimiser steps.*set train.warmup_steps"):
        learning_rate(0, 1.0, 200, total)
