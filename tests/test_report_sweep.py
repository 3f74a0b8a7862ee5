"""Experiments become one table and figure per sweep."""

import json

import pytest
from conftest import PARAMS

from iebaker.errors import IebakerError
from iebaker.report import sweep

WEAK_RATE = "synthetic.weak_rate"


def revision(value, scheme="coupled", mr=70.0, at="2026-01-01T00:00:00", **changes):
    params = {"synthetic": {"weak_rate": value}, "eba": {"scheme": scheme, "drop_ratio": 0.15}, "seeds": [0, 1]}
    params |= {"corpora": ["synthetic"], "variants": ["full"], "train": {"epochs": 10}} | changes
    plain = {"mR": mr, "mR_std": None, "mR_low": mr - 2, "mR_high": mr + 2}
    audit = {"auroc": 0.96, "precision": None if scheme == "none" else 0.9, "recall": 0.5, "dropped_share": 0.1}
    metrics = {
        "synthetic": {split: {"plain": plain, "sar": {"mR": mr + 1, "transductive": True}} for split in ("val", "test")}
    }
    files = {
        "reports/metrics/synthetic/full.json": {
            "data": metrics | {"elimination": {"global": audit, "trained": {"auroc": 0.97}}}
        }
    }
    files["reports/metrics/rsicd/full.json"] = {"data": metrics}
    return {"data": {"params": {"params.yaml": {"data": params}}, "metrics": without_nulls(files), "timestamp": at}}


def without_nulls(values):
    """As DVC shows metrics."""
    if not isinstance(values, dict):
        return values
    return {key: without_nulls(value) for key, value in values.items() if value is not None}


def shown(*revisions, state=None):
    """The nesting of `dvc exp show --json`; what was never queued has no executor."""
    executor = state and {"state": state, "name": "dvc-task"}
    experiments = [{"revs": [one], "name": "x", "executor": executor} for one in revisions]
    failed = {"revs": [{"data": None, "error": {"msg": "gone"}}], "name": "y"}
    return [{**revision(0.2), "name": None}, {**revision(0.2), "name": "main", "experiments": [*experiments, failed]}]


def test_collects_what_differs_in_the_parameter_and_the_scheme_alone():
    other = revision(0.2, mr=1.0, eba={"scheme": "coupled", "drop_ratio": 0.9})
    table = sweep.collect(shown(revision(0.4), revision(0.1, "none"), other), WEAK_RATE, "full")
    test = table[table["split"] == "test"]
    assert test[["value", "scheme"]].values.tolist() == [[0.1, "none"], [0.4, "coupled"]]
    assert set(table["auroc_trained"]) == {0.97} and "precision_trained" not in table
    assert set(table["corpus"]) == {"synthetic"} and (table["sar_mR"] == 71).all() and table["sar_transductive"].all()


def test_of_a_repeated_experiment_the_newest_counts():
    late, early = revision(0.4, mr=80.0, at="2026-02-02T00:00:00"), revision(0.4, mr=60.0)
    table = sweep.collect(shown(late, early), WEAK_RATE, "full")
    assert table.query("value == 0.4")["mR"].tolist() == [80.0, 80.0]


def test_other_settings_are_those_asked_for():
    longer = revision(0.4, mr=90.0, train={"epochs": 20})
    with pytest.raises(IebakerError):
        sweep.collect(shown(longer), WEAK_RATE, "full")
    assert set(sweep.collect(shown(longer), WEAK_RATE, "full", {"train.epochs": 20})["mR"]) == {90.0}


def test_a_setting_may_name_what_is_free_otherwise():
    schemes, seeds = (revision(0.4, scheme) for scheme in ("none", "coupled")), revision(0.4, seeds=[0])
    table = sweep.collect(shown(*schemes, seeds), WEAK_RATE, "full", {"eba.scheme": "coupled", "seeds": [0]})
    assert set(table["scheme"]) == {"coupled"} and set(table["seeds"]) == {1}
    with pytest.raises(IebakerError, match="eba.scheme=decoupled, other parameters as in the workspace"):
        sweep.collect(shown(revision(0.4)), WEAK_RATE, "full", {"eba.scheme": "decoupled"})


def test_a_parameter_that_is_null_has_the_recipes_value():
    assert PARAMS["eba"]["drop_ratio"] is None
    other = {name: PARAMS[name] for name in PARAMS if name not in ("seeds", "corpora", "variants")}
    rates = [revision(0.2, **other | {"eba": PARAMS["eba"] | {"drop_ratio": rate}}) for rate in (None, 0.5)]
    table = sweep.collect([{**rates[0], "name": None}, *shown(*rates)[1:]], "eba.drop_ratio", "full")
    assert set(table["value"]) == {0.5, PARAMS["recipes"]["scratch"]["eba"]["drop_ratio"]}


def test_every_number_of_seeds_and_every_corpus_has_a_curve_of_its_own(tmp_path):
    values = [revision(value, seeds=seeds) for value in (0, 0.4) for seeds in ([0], [0, 1, 2])]
    sweep.sweep_plot(sweep.collect(shown(*values), WEAK_RATE, "full"), tmp_path / "sweep.svg")
    drawn = (tmp_path / "sweep.svg").read_text()
    assert "coupled, seeds: 1" in drawn and "coupled, seeds: 3" in drawn


@pytest.mark.parametrize("state", ["queued", "running", "failed"])
def test_what_is_not_finished_does_not_count(state):
    """DVC shows it with the metrics of the commit it starts from."""
    with pytest.raises(IebakerError):
        sweep.collect(shown(revision(0.4), state=state), WEAK_RATE, "full")
    assert len(sweep.collect(shown(revision(0.4), state="success"), WEAK_RATE, "full")) == 2


def test_nothing_to_collect_is_said():
    with pytest.raises(IebakerError, match="variant ker"):
        sweep.collect(shown(), WEAK_RATE, "ker")


def test_plot_is_deterministic_and_stands_gaps(tmp_path):
    table = sweep.collect(shown(*(revision(v, s) for v in (0, 0.4) for s in ("none", "decoupled"))), WEAK_RATE, "full")
    for name in ("a", "b"):
        sweep.sweep_plot(table, tmp_path / f"{name}.svg")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    json.dumps(table.to_dict("records"))
