import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iebaker.metrics.elimination import auroc, elimination_audit, elimination_summary


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.sampled_from(["", "vague", "other"])), max_size=30))
def test_audit_against_the_definitions(pairs):
    values = np.array([value for value, _, _ in pairs], dtype=np.float32)
    dropped = np.array([drop for _, drop, _ in pairs], dtype=bool)
    kinds = np.array([kind for _, _, kind in pairs], dtype=str)
    audit = elimination_audit(values, dropped, kinds)
    weak = kinds != ""
    assert audit["kinds"]["untouched"]["pairs"] == (~weak).sum()
    assert audit["dropped"] == dropped.sum() == sum(kind["dropped"] for kind in audit["kinds"].values())
    assert audit["precision"] == (weak[dropped].mean() if dropped.any() else None)
    assert audit["recall"] == (dropped[weak].mean() if weak.any() else None)
    other = audit["kinds"].get("other", {}).get("auroc")
    for area, chosen in ((audit["auroc"], weak), (other, kinds == "other")):
        low, high = values[weak & chosen][:, None], values[~weak][None]
        wins = (high > low) + 0.5 * (high == low)
        assert area == (pytest.approx(wins.mean()) if wins.size else None)


def test_auroc_of_separated_and_equal_values():
    assert auroc(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert auroc(np.ones(3), np.ones(4)) == 0.5
    assert auroc(np.ones(3), np.ones(0)) is None


def record(threshold, dropped, weak_dropped):
    kinds = {"untouched": {"pairs": 80, "dropped": dropped - weak_dropped}, "other": {"pairs": 20, "auroc": 0.9}}
    return {"threshold": threshold, "pairs": 100, "dropped": dropped, "auroc": 0.8, "kinds": kinds}


def test_elimination_counts_active_epochs_only():
    history = [{"elimination": {"global": record(None, 0, 0)}}] + [{"elimination": {"global": record(0.1, 10, 8)}}] * 2
    trainings = [{"separation": {"auroc": value, "auroc_other": None}} for value in (0.9, 0.8)]
    summary = elimination_summary([history], trainings)
    assert summary["global"] == {
        "auroc": 0.8, "auroc_other": 0.9, "dropped_share": 0.1, "precision": 0.8, "recall": 0.4
    }  # fmt: skip
    assert summary["trained"] == {"auroc": 0.85, "auroc_other": None}
    assert "trained" not in elimination_summary([history], [{"separation": {}}])


def test_coupled_elimination_is_active_where_the_global_threshold_is():
    history = [{"elimination": {"global": record(None, 0, 0), "local": record(None, 0, 0)}}]
    history += [{"elimination": {"global": record(0.1, 10, 8), "local": record(None, 10, 8)}}]
    summary = elimination_summary([history], [{"separation": {}}])
    assert summary["local"] == summary["global"] and summary["local"]["dropped_share"] == 0.1
