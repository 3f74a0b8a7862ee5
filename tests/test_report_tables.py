"""The tables behind the figures say what the metrics files say."""

import json

import numpy as np
import pandas as pd
import pytest
from report_fixtures import EPOCHS, QUALITY, SEEDS, made_up_project, open_project  # noqa: F401

from iebaker.report import tables
from iebaker.report.figures import FIGURES


@pytest.fixture(scope="module")
def results(project):
    return open_project(project)


def test_ablation_repeats_the_metrics_and_compares_with_the_baseline(results):
    table = tables.ablation(results).set_index(["split", "variant", "matrix"])
    for (split, variant, matrix), row in table.iterrows():
        expected = results.metrics(variant)["synthetic"][split][matrix]
        assert [row[key] for key in ("mR", "mR_low", "mR_high", "mR_std")] == [
            expected[key] for key in ("mR", "mR_low", "mR_high", "mR_std")
        ]
        assert row["transductive"] == expected.get("transductive", False)
        plain, baseline = table.loc[(split, variant, "plain")], table.loc[(split, "baseline", matrix)]
        if variant == "baseline":
            assert row[["difference", "p", "p_holm"]].isna().all()
        else:
            assert row["difference"] == pytest.approx(row["mR"] - baseline["mR"], abs=2e-4)
            assert row["difference_low"] <= row["difference"] <= row["difference_high"]
            assert row["p"] <= row["p_holm"] <= 1
        if matrix == "sar":
            assert row["gain"] == pytest.approx(row["mR"] - plain["mR"], abs=2e-4)
    assert len(table) == 2 * len(QUALITY) * 2


def test_one_variant_has_nothing_to_be_compared_with(project):
    table = tables.ablation(open_project(project, variants=["full"]))
    assert table["difference"].isna().all() and table["mR"].notna().all()


def test_fusion_at_the_published_weight_is_the_measured_validation_mr(results):
    table = tables.fusion(results).set_index(["variant", "scale", "local_weight"])["mR"]
    for variant in QUALITY:
        expected = results.metrics(variant)["synthetic"]["val"]["plain"]["mR"]
        assert table[variant, "published", 0.4] == pytest.approx(expected, abs=1e-3)
        # a weight of 0 or 1 leaves one similarity, whose scale orders nothing
        assert table[variant, "published", 0.0] == table[variant, "standardised", 0.0]
        assert table[variant, "published", 1.0] == table[variant, "standardised", 1.0]


def test_recall_at_k_repeats_the_metrics_and_grows_with_k(results):
    table = tables.recall_at_k(results).set_index(["variant", "direction", "matrix", "K"])["recall"].sort_index()
    for variant in QUALITY:
        for matrix in ("plain", "sar"):
            expected = results.metrics(variant)["synthetic"]["test"][matrix]
            for direction, short in (("image_to_text", "i2t"), ("text_to_image", "t2i")):
                curve = table[variant, direction, matrix]
                assert curve.is_monotonic_increasing
                assert [curve[k] for k in (1, 5, 10)] == pytest.approx(
                    [expected[f"{short}_R@{k}"] for k in (1, 5, 10)], abs=1e-3
                )


def test_elimination_counts_every_kind(results):
    table = tables.elimination(results)
    kinds = [column for column in table if column.startswith("dropped_") and column != "dropped_share"]
    assert len(table) == len(QUALITY) * len(SEEDS) * EPOCHS * 2
    assert (table[kinds].sum(axis=1) == table["dropped"]).all()
    assert set(table.loc[table["dropped"] > 0, "variant"]) == {"eba-decoupled", "full"}
    shown = table[table["dropped"] > 0]
    weak = shown["dropped"] - shown["dropped_untouched"]
    assert np.allclose(shown["precision"], weak / shown["dropped"])


def test_reranking_says_what_validation_chose(results):
    table = tables.reranking(results)
    assert len(table) == len(QUALITY) * len(SEEDS) * 2
    flags = table.groupby("variant")["transductive"].any()
    for variant in QUALITY:
        validation = results.metrics(variant)["synthetic"]["val"]
        assert flags[variant] == validation["sar"]["transductive"]
        for direction, short in (("image_to_text", "i2t"), ("text_to_image", "t2i")):
            rows = table[(table["variant"] == variant) & (table["direction"] == direction)]
            for matrix, when in (("plain", "before"), ("sar", "after")):
                assert rows[f"R@5_{when}"].mean() == pytest.approx(validation[matrix][f"{short}_R@5"], abs=1e-3)


def test_training_marks_the_kept_epoch(results):
    table = tables.training(results)
    assert table.groupby(["variant", "seed"])["best"].sum().eq(1).all()
    kept = table[table["best"]]
    assert (kept["val_mR"] == table.groupby(["variant", "seed"])["val_mR"].max().to_numpy()).all()


def test_stage_writes_every_table_and_figure(project):
    folder = project / "reports/ablation/synthetic"
    expected = {f"{name}.csv" for name in tables.TABLES} | {f"{name}.svg" for name in FIGURES}
    assert {path.name for path in folder.iterdir()} == expected
    written = pd.read_csv(folder / "ablation.csv")
    metrics = json.loads((project / "reports/metrics/synthetic/full.json").read_text())
    row = written.query("variant == 'full' and split == 'test' and matrix == 'plain'").iloc[0]
    assert row["mR"] == metrics["synthetic"]["test"]["plain"]["mR"]
