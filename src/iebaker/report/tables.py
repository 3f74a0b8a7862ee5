"""The numbers behind every figure of the ablation, one tidy table each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from iebaker.config.params import FusionParams
from iebaker.metrics.recall import RANKS, hits, image_to_text_hits, recalls, relevance, text_to_image_hits
from iebaker.metrics.significance import compare
from iebaker.report.results import CorpusResults
from iebaker.retrieval.fusion import fused, scales_of
from iebaker.retrieval.matrices import LOCAL, open_matrix
from iebaker.retrieval.rerank.members import Direction

MATRICES = ("plain", "sar")
CURVE_RANKS = (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 25, 30, 40, 50)
LOCAL_WEIGHTS = tuple(round(0.1 * step, 1) for step in range(11))
DIGITS = 4
MEASURES: dict[Direction, Callable[..., np.ndarray]] = {
    "image_to_text": image_to_text_hits,
    "text_to_image": text_to_image_hits,
}
TRAINING_COLUMNS = ("variant", "seed", "epoch", "val_mR", "loss", "loss_retrieval", "loss_keywords", "best")
ELIMINATION_COLUMNS = (
    *("variant", "seed", "epoch", "similarity", "threshold"),
    *("pairs", "dropped", "dropped_share", "precision", "recall", "auroc"),
)


def ablation(results: CorpusResults) -> pd.DataFrame:
    """mR of every variant before and after SAR, and its paired difference to the reference variant.

    Returns:
        One row per benchmark, split, variant and matrix ("plain" or "sar"): mR (percent) with mR_std over seeds and
        its 95% interval, and of each seed, spaced; `difference` to the reference with interval, p of the paired
        permutation test over images and p_holm; `gain` of SAR over plain with interval and p; transductive.
    """
    rows = []
    metrics = {variant: results.metrics(variant) for variant in results.variants}
    for benchmark in results.benchmarks:
        found = {variant: results.hits(variant, benchmark) for variant in results.variants}
        for split in found[results.reference]:
            owner = results.image_of_text(benchmark, split)
            for matrix in MATRICES:
                measured = {variant: found[variant][split][matrix] for variant in results.variants}
                others = {name: trained for name, trained in measured.items() if name != results.reference}
                differences = compare(measured[results.reference], others, owner) if others else {}
                for variant in results.variants:
                    summary = metrics[variant][benchmark][split][matrix]
                    row: dict[str, Any] = {"benchmark": benchmark, "split": split, "variant": variant}
                    row["matrix"] = matrix
                    row |= {key: summary[key] for key in ("mR", "mR_std", "mR_low", "mR_high")}
                    row["seeds"] = len(measured[variant])
                    row["mR_by_seed"] = " ".join(f"{recalls(of_seed)['mR']:.2f}" for of_seed in measured[variant])
                    row |= _named(differences.get(variant), "difference", ("p", "p_holm"))
                    plain = found[variant][split]["plain"]
                    gain = compare(plain, {"sar": measured[variant]}, owner)["sar"] if matrix == "sar" else None
                    row |= _named(gain, "gain", ())
                    row["gain_p"] = gain and gain["p"]
                    row["transductive"] = summary.get("transductive", False)
                    rows.append(row)
    return pd.DataFrame(rows)


def training(results: CorpusResults) -> pd.DataFrame:
    """Losses and validation mR per variant, seed and epoch (0-based); `best` marks the epoch that was kept.

    An untouched model has no rows.
    """
    rows = []
    for variant, seed, history in _histories(results):
        best = results.training(variant, seed)["best_epoch"]
        for record in history:
            losses = {name: record.get(name) for name in ("loss", "loss_retrieval", "loss_keywords")}
            epoch = record["epoch"]
            row = {"variant": variant, "seed": seed, "epoch": epoch, "val_mR": record["val_mR"], **losses}
            rows.append({**row, "best": epoch == best})
    return pd.DataFrame(rows, columns=TRAINING_COLUMNS)


def elimination(results: CorpusResults) -> pd.DataFrame:
    """What the elimination dropped per variant, seed, epoch and similarity.

    Returns:
        pairs, dropped, dropped_share, threshold; where weak pairs are known also precision, recall, auroc of all and
        `auroc_<kind>`; pairs and dropped of each kind as `pairs_<kind>`, `dropped_<kind>`. Empty where undefined.
    """
    rows = []
    for variant, seed, history in _histories(results):
        for record in history:
            for similarity, audit in record["elimination"].items():
                row = {"variant": variant, "seed": seed, "epoch": record["epoch"], "similarity": similarity}
                row |= {key: value for key, value in audit.items() if key != "kinds"}
                for kind, values in audit["kinds"].items():
                    row |= {f"{key}_{kind}": value for key, value in values.items()}
                rows.append(row)
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=ELIMINATION_COLUMNS)


def fusion(results: CorpusResults) -> pd.DataFrame:
    """Validation mR over the weight of local similarity, as published and with both standardised first.

    Returns:
        One row per benchmark, variant, scale ("published", "standardised") and local_weight w of
        (1 - w) S + w L: mR in percent, mean over seeds. Variants without local similarity are left out.
    """
    rows = []
    for benchmark in results.benchmarks:
        relevant = relevance(results.image_of_text(benchmark, "val"))
        for variant in results.variants:
            folders = [results.matrix_folder(variant, seed, benchmark, "val") for seed in results.seeds]
            if open_matrix(folders[0], LOCAL) is None:
                continue
            for scale in ("published", "standardised"):
                standardise = scale == "standardised"
                scales = [scales_of(folder, standardise) for folder in folders]
                for weight in LOCAL_WEIGHTS:
                    params = FusionParams(global_weight=1 - weight, local_weight=weight, standardise=standardise)
                    found = [fused(*place) for place in zip(folders, [params] * len(folders), scales, strict=True)]
                    values = [recalls(hits(scores, scores, relevant))["mR"] for scores in found]
                    row = {"benchmark": benchmark, "variant": variant, "scale": scale, "local_weight": weight}
                    rows.append({**row, "mR": np.mean(values)})
    return pd.DataFrame(rows, columns=["benchmark", "variant", "scale", "local_weight", "mR"])


def recall_at_k(results: CorpusResults) -> pd.DataFrame:
    """Recall (percent, mean over seeds) against K, per benchmark, variant, direction and matrix, on the last split.

    `transductive`: whether any seed's re-ranking is.
    """
    rows = []
    for benchmark in results.benchmarks:
        split = list(results.hits(results.reference, benchmark))[-1]
        relevant = relevance(results.image_of_text(benchmark, split))
        items = dict(zip(("text_to_image", "image_to_text"), reversed(relevant.shape), strict=True))
        for variant in results.variants:
            curves: dict[tuple[str, Direction], list[np.ndarray]] = {}
            for seed in results.seeds:
                for matrix, scores in results.scores(variant, seed, benchmark, split).items():
                    for direction, measure in MEASURES.items():
                        found = measure(scores[direction], relevant, CURVE_RANKS).mean(axis=0)
                        curves.setdefault((matrix, direction), []).append(100 * found)
            choices = [selection.choices for selection in results.selections(variant, benchmark)]
            for (matrix, direction), found in curves.items():
                row: dict[str, Any] = {"benchmark": benchmark, "split": split, "variant": variant}
                row["direction"] = direction
                transductive = matrix == "sar" and any(of_seed[direction].transductive for of_seed in choices)
                row["transductive"] = transductive
                rows += [
                    {**row, "matrix": matrix, "K": rank, "recall": recall}
                    for rank, recall in zip(CURVE_RANKS, np.mean(found, axis=0), strict=True)
                    if rank < items[direction]
                ]
    return pd.DataFrame(rows)


def reranking(results: CorpusResults) -> pd.DataFrame:
    """How each variant and seed is re-ranked, per direction: what validation chose, and its recalls there.

    Returns:
        One row per benchmark, variant, seed and direction: method, transductive, parameters (text, betas and strengths
        in standard deviations of the validation matrix), and R@K on validation as `R@K_before`, `R@K_after`.
    """
    rows = []
    for benchmark in results.benchmarks:
        for variant in results.variants:
            for seed, selection in zip(results.seeds, results.selections(variant, benchmark), strict=True):
                for direction, choice in selection.choices.items():
                    entries = [entry for entry in selection.table if entry["direction"] == direction]
                    after = next(entry for entry in entries if choice.as_dict().items() <= entry.items())
                    row = {"benchmark": benchmark, "variant": variant, "seed": seed, "direction": direction}
                    row |= {"method": choice.method, "transductive": choice.transductive}
                    row["parameters"] = ", ".join(f"{key}={value:.3g}" for key, value in choice.parameters.items())
                    for rank in RANKS:
                        row |= {f"R@{rank}_before": entries[0][f"R@{rank}"], f"R@{rank}_after": after[f"R@{rank}"]}
                    rows.append(row)
    return pd.DataFrame(rows)


TABLES = {
    "ablation": ablation,
    "training": training,
    "elimination": elimination,
    "fusion": fusion,
    "recall_at_k": recall_at_k,
    "reranking": reranking,
}


def _histories(results: CorpusResults) -> list[tuple[str, int, list[dict[str, Any]]]]:
    pairs = [(variant, seed) for variant in results.variants for seed in results.seeds]
    return [(variant, seed, results.history(variant, seed)) for variant, seed in pairs]


def _named(comparison: dict[str, float] | None, name: str, extra: tuple[str, ...]) -> dict[str, float | None]:
    keys = {"difference": name, "low": f"{name}_low", "high": f"{name}_high", **{key: key for key in extra}}
    return {column: comparison[key] if comparison else None for key, column in keys.items()}
