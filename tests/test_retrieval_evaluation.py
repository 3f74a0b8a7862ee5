import json

import numpy as np
import pandas as pd
import pytest
from conftest import resolved

from iebaker.config.params import EvaluationConfig
from iebaker.errors import IebakerError
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.retrieval.evaluation import evaluate_variant

IMAGES, CAPTIONS = 30, 5
PUBLISHED = {"global_weight": 0.6, "local_weight": 0.4, "standardise": False}


def evaluation(method: str, **fusion) -> EvaluationConfig:
    return resolved(fusion=PUBLISHED | fusion, sar={"method": method})[1]


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
    found = evaluate_variant(folders, evaluation("none"))
    owner = np.repeat(np.arange(IMAGES), CAPTIONS)
    per_seed = []
    for folder in folders.values():
        fused = 0.6 * np.load(folder / "test/global.npy") + 0.4 * np.load(folder / "test/local.npy")
        per_seed.append(recalls(hits(fused, fused, relevance(owner)))["mR"])
    plain = found.metrics["test"]["plain"]
    assert plain["mR"] == pytest.approx(np.mean(per_seed), abs=1e-4)
    assert plain["mR_std"] == pytest.approx(np.std(per_seed, ddof=1), abs=1e-4)
    assert found.metrics["test"]["sar"]["mR"] == plain["mR"]
    assert found.metrics["test"]["sar"]["transductive"] is False
    json.dumps(found.metrics, allow_nan=False)


def test_choice_never_sees_test(folders):
    """Other test matrices, the same choice."""
    before = evaluate_variant(folders, evaluation("auto"))
    for folder in folders.values():
        for kind in ("global", "local"):
            values = np.load(folder / f"test/{kind}.npy")
            np.save(folder / f"test/{kind}.npy", -values)
    after = evaluate_variant(folders, evaluation("auto"))
    assert before.selections == after.selections
    assert before.metrics["val"] == after.metrics["val"]
    assert before.metrics["test"] != after.metrics["test"]


def test_standardised_fusion_ignores_the_scale_of_either_side(folders):
    config = evaluation("none", standardise=True, global_weight=0.5, local_weight=0.5)
    before = evaluate_variant(folders, config).metrics
    for folder in folders.values():
        for split in ("val", "test"):
            np.save(folder / split / "local.npy", 64 * np.load(folder / split / "local.npy"))
    assert evaluate_variant(folders, config).metrics == before


def test_what_cannot_be_ranked_is_named(folders):
    scores = np.load(folders[1] / "test/global.npy")
    scores[7, 3] = np.nan
    np.save(folders[1] / "test/global.npy", scores)
    with pytest.raises(IebakerError, match=r"1/test: scores: row 7 \(text\), column 3 \(image\) is nan"):
        evaluate_variant(folders, evaluation("none"))
