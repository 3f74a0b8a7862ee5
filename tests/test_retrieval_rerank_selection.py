import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import section
from pydantic import ValidationError

from iebaker.config.params import SarParams
from iebaker.errors import IebakerError
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.retrieval import rerank
from iebaker.retrieval.rerank.selection import DIRECTIONS, GRID, HYPER_PARAMETERS, select

SHARED = Path(os.environ.get("IEBAKER_SHARED", Path(__file__).parents[2] / "shared"))
OWNER = np.repeat(np.arange(60), 3)


def hubby(seed, hubs=1.5):
    """Similarities in which some images and some texts are near to everything: what reverse retrieval mends."""
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(180, 60)) + hubs * (generator.normal(size=60) + generator.normal(size=(180, 1)))
    scores[np.arange(180), OWNER] += 2
    return (0.1 * scores).astype(np.float32)


def mean_recall(selection, scores, bank=None):
    moved = {one: rerank.apply(selection.choices[one], scores, one, bank) for one in DIRECTIONS}
    return recalls(hits(**moved, relevant=relevance(OWNER)))["mR"]


def test_auto_carries_over_to_unseen_data():
    selection = rerank.select(hubby(0), OWNER, section(SarParams))
    plain = recalls(hits(hubby(1), hubby(1), relevance(OWNER)))["mR"]
    assert mean_recall(selection, hubby(1)) > plain + 5
    assert selection.transductive


def test_auto_chooses_the_best_of_the_table_and_never_less_than_none():
    selection = rerank.select(hubby(0), OWNER, section(SarParams))
    for direction, choice in selection.choices.items():
        rows = [row for row in selection.table if row["direction"] == direction]
        assert {row["method"] for row in rows} == set(GRID) - {"querybank"}
        assert len(rows) == sum(len(grid) for name, grid in GRID.items() if name != "querybank")
        best = max(rows, key=lambda row: row["criterion"])
        assert choice.as_dict().items() <= best.items()


def test_auto_leaves_alone_what_it_cannot_mend():
    perfect = np.eye(60, dtype=np.float32)[OWNER] + hubby(0, hubs=0) / 10
    selection = rerank.select(perfect, OWNER, section(SarParams))
    assert {choice.method for choice in selection.choices.values()} == {"none"}
    assert not selection.transductive


@pytest.mark.parametrize("method", HYPER_PARAMETERS)
def test_a_fixed_member_takes_its_parameters(method):
    bank = rerank.BankScores(hubby(2)[:50], hubby(2)[:, :20])
    params = section(SarParams, method=method, candidates=9, strength=np.inf, beta=3)
    selection = rerank.select(hubby(0), OWNER, params, bank)
    for choice in selection.choices.values():
        assert choice.method == method and choice.transductive == (method not in ("none", "querybank"))
        assert choice.parameters == {name: getattr(params, name) for name in HYPER_PARAMETERS[method]}
    assert [row["method"] for row in selection.table] == ([method] if method == "none" else ["none", method]) * 2
    restored = rerank.Selection.from_dict(json.loads(json.dumps(selection.as_dict(), allow_nan=False)))
    assert restored == selection
    assert mean_recall(restored, hubby(1), bank) == mean_recall(selection, hubby(1), bank)


def test_units_follow_validation():
    params = section(SarParams, method="soft", strength=1.5, beta=2)
    one, scaled = (rerank.select(factor * hubby(0), OWNER, params) for factor in (1, 8))
    for direction in DIRECTIONS:
        small = rerank.apply(one.choices[direction], hubby(1), direction)
        large = rerank.apply(scaled.choices[direction], 8 * hubby(1), direction)
        assert large == pytest.approx(8 * small, rel=1e-5, abs=1e-5)
        deviation = hubby(0).astype(np.float64).std()
        assert one.choices[direction].deviation == pytest.approx(deviation)


def test_a_bank_puts_querybank_into_the_family():
    bank = rerank.BankScores(hubby(2)[:50], hubby(2)[:, :20])
    assert "querybank" in {row["method"] for row in rerank.select(hubby(0), OWNER, section(SarParams), bank).table}


def test_what_cannot_be_reranked_is_refused():
    with pytest.raises(ValueError, match="bank of training queries is missing"):
        rerank.select(hubby(0), OWNER, section(SarParams, method="querybank"))
    with pytest.raises(ValueError, match="all are equal"):
        rerank.select(np.ones((180, 60)), OWNER, section(SarParams))
    infinite = hubby(0)
    infinite[7, 5] = -np.inf
    with pytest.raises(ValueError, match=r"row 7 \(text\), column 5 \(image\) is -inf"):
        rerank.select(infinite, OWNER, section(SarParams))


def test_auto_gains_on_a_real_model():
    paths = [SHARED / "similarity" / f"rsicd_{split}.npy" for split in ("val", "test")]
    if not all(path.exists() for path in paths):
        pytest.skip(f"{paths[0].parent} is absent; set IEBAKER_SHARED")
    val, test = (np.load(path, mmap_mode="r") for path in paths)
    selection = rerank.select(val, np.arange(len(val)) // 5, section(SarParams))
    relevant = relevance(np.arange(len(test)) // 5)
    moved = {one: rerank.apply(selection.choices[one], test, one) for one in DIRECTIONS}
    assert recalls(hits(**moved, relevant=relevant))["mR"] >= recalls(hits(test, test, relevant))["mR"] + 0.7


@pytest.mark.parametrize(("scale", "message"), [(1e-40, "beyond what single"), (1e300, "beyond"), (0, "all are equal")])
@pytest.mark.filterwarnings("error")
def test_matrices_on_an_absurd_scale_are_refused(scale, message):
    scores = np.random.default_rng(0).normal(size=(20, 4)) * scale
    with pytest.raises(IebakerError, match=message):
        select(scores.astype(np.float32) if scale < 1 else scores, np.arange(20) // 5, section(SarParams))


@pytest.mark.parametrize("change", [{"beta": 1e300}, {"strength": 1e300}, {"weight_forward": 1e308}, {"decay": 1e308}])
def test_hyper_parameters_beyond_all_numbers_are_refused(change):
    with pytest.raises(ValidationError):
        section(SarParams, **change)
    assert section(SarParams, strength="inf").strength == float("inf")
