import json

import numpy as np
import pandas as pd
import pytest

from iebaker.config.params import SarParams, SimilarityParams
from iebaker.errors import IebakerError
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.retrieval.evaluation import elimination_summary, evaluate_variant

IMAGES, CAPTIONS = 30, 5


@pytest.fixture
def folders(tmp_path, rng):
    """Two seeds' matrices of a model that is right more often than not."""
    owner = np.repeat(np.arange(IMAGES), CAPTIONS)
    for seed in (0, 1):
        for split in ("val", "test"):
            folder = tmp_path / str(seed) / split
            folder.mkdir(parents=True)
            truth = np.eye(IMAGES)[owner]
            np.save(folder / "global.npy", (truth + rng.normal(0, 0.6, truth.shape)).astype(np.float32))
            np.save(folder / "local.npy", (9 * truth + rng.normal(30, 6, truth.shape)).astype(np.float32))
            captions = [f"caption {row}" for row in range(len(owner))]
            texts = pd.DataFrame({"caption_id": range(len(owner)), "caption": captions, "image_of_text": owner})
            texts.to_parquet(folder / "texts.parquet")
    return {seed: tmp_path / str(seed) for seed in (0, 1)}


def test_plain_metrics_are_those_of_the_published_fusion(folders):
    evaluation = evaluate_variant(folders, SimilarityParams(), SarParams(method="none"))
    owner = np.repeat(np.arange(IMAGES), CAPTIONS)
    per_seed = []
    for folder in folders.values():
        fused = 0.6 * np.load(folder / "test/global.npy") + 0.4 * np.load(folder / "test/local.npy")
        per_seed.append(recalls(hits(fused, fused, relevance(owner)))["mR"])
    plain = evaluation.metrics["test"]["plain"]
    assert plain["mR"] == pytest.approx(np.mean(per_seed), abs=1e-4)
    assert plain["mR_std"] == pytest.approx(np.std(per_seed, ddof=1), abs=1e-4)
    assert evaluation.metrics["test"]["sar"]["mR"] == plain["mR"]
    assert evaluation.metrics["test"]["sar"]["transductive"] is False
    json.dumps(evaluation.metrics, allow_nan=False)


def test_choice_never_sees_test(folders):
    """Other test matrices, the same choice."""
    before = evaluate_variant(folders, SimilarityParams(), SarParams())
    for folder in folders.values():
        for kind in ("global", "local"):
            values = np.load(folder / f"test/{kind}.npy")
            np.save(folder / f"test/{kind}.npy", -values)
    after = evaluate_variant(folders, SimilarityParams(), SarParams())
    assert before.choices == after.choices
    assert before.metrics["val"] == after.metrics["val"]
    assert before.metrics["test"] != after.metrics["test"]


def test_standardised_fusion_ignores_the_scale_of_either_side(folders):
    params = SimilarityParams(standardise=True, global_weight=0.5, local_weight=0.5)
    before = evaluate_variant(folders, params, SarParams(method="none")).metrics
    for folder in folders.values():
        for split in ("val", "test"):
            np.save(folder / split / "local.npy", 64 * np.load(folder / split / "local.npy"))
    assert evaluate_variant(folders, params, SarParams(method="none")).metrics == before


def test_what_cannot_be_ranked_is_named(folders):
    scores = np.load(folders[1] / "test/global.npy")
    scores[7, 3] = np.nan
    np.save(folders[1] / "test/global.npy", scores)
    with pytest.raises(IebakerError, match=r"1/test: scores: row 7 \(text\), column 3 \(image\) is nan"):
        evaluate_variant(folders, SimilarityParams(), SarParams(method="none"))


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
