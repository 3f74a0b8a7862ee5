"""From the similarity matrices of all seeds of a variant to its metrics (method: Evaluation, SAR)."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iebaker.fusion import fuse
from iebaker.matrices import BANK_IMAGES, BANK_TEXTS, EVALUATION, GLOBAL, LOCAL, MatrixError, open_matrix
from iebaker.metrics.recall import Hits, require_numbers
from iebaker.metrics.summary import Split, rounded
from iebaker.params import SarParams, SimilarityParams
from iebaker.rerank.selection import Bank, apply, select

ELIMINATION = "elimination"  # beside the benchmarks in reports/metrics


@dataclass(frozen=True)
class Scales:
    """Standard deviations on validation that S and L are divided by before fusion; 1 where they are not."""

    global_scale: float = 1.0
    local_scale: float = 1.0


@dataclass
class VariantEvaluation:
    """What a variant reached on one benchmark.

    Attributes:
        metrics: per split, in the schema of reports/metrics.
        hits: per split and name ("plain", "sar", ...), one Hits a seed.
        image_of_text: per split, (N_text,).
        choices: per seed, the re-ranking that was chosen, with its validation table.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    hits: dict[str, dict[str, list[Hits]]] = field(default_factory=dict)
    image_of_text: dict[str, np.ndarray] = field(default_factory=dict)
    choices: list[dict[str, Any]] = field(default_factory=list)


def scales_of(folder: Path, params: SimilarityParams) -> Scales:
    """Scales from one seed's validation matrices; 1 unless `similarity.standardise`."""
    local = open_matrix(folder, LOCAL)
    if not params.standardise or local is None:
        return Scales()
    return Scales(float(np.std(open_matrix(folder, GLOBAL), dtype=np.float64)), float(np.std(local, dtype=np.float64)))


def fused(folder: Path, params: SimilarityParams, scales: Scales, prefix: str = EVALUATION) -> np.ndarray | None:
    """Fused similarities, (N_text, N_image) float32; S alone where L was not trained; None without matrix."""
    global_values, local_values = open_matrix(folder, GLOBAL, prefix), open_matrix(folder, LOCAL, prefix)
    if local_values is None:
        return global_values
    values = fuse(
        np.asarray(global_values),
        np.asarray(local_values),
        params.global_weight,
        params.local_weight,
        scales.global_scale,
        scales.local_scale,
    )
    return values.astype(np.float32)


def bank_of(folder: Path, params: SimilarityParams, scales: Scales) -> Bank:
    """Fused similarities against training queries, for `querybank`; empty if the export wrote no bank."""
    return Bank(fused(folder, params, scales, BANK_TEXTS), fused(folder, params, scales, BANK_IMAGES))


def evaluate_variant(folders: Mapping[int, Path], similarity: SimilarityParams, sar: SarParams) -> VariantEvaluation:
    """Evaluate one variant on one benchmark: plain and re-ranked, strict and lenient, over its seeds.

    Every re-ranking is chosen on the seed's own validation matrix, and only then applied to test.

    Args:
        folders: per seed, a folder with `val` and `test` as `export.export_split` writes them.

    Raises:
        MatrixError: if a seed has no validation matrices, or one that cannot be ranked.
    """
    result = VariantEvaluation()
    hits: dict[str, dict[str, list[Hits]]] = defaultdict(lambda: defaultdict(list))
    measures: dict[str, Split] = {}
    for folder in folders.values():
        if not (folder / "val").exists():
            raise MatrixError(f"{folder}/val is missing, and re-ranking is chosen on validation; "
                              "set data.<benchmark>.validation_share")  # fmt: skip
        scales = scales_of(folder / "val", similarity)
        selection = None
        for split in ("val", "test"):
            if not (folder / split).exists():
                continue
            if split not in measures:
                texts = pd.read_parquet(folder / split / "texts.parquet")
                measures[split] = Split(texts["image_of_text"].to_numpy(), texts["caption"].tolist())
            scores, bank = fused(folder / split, similarity, scales), bank_of(folder / split, similarity, scales)
            _require_numbers(folder / split, scores, bank)
            if selection is None:
                selection = select(scores, measures[split].image_of_text, sar, bank)
                result.choices.append(selection.as_dict())
            matrices = {
                direction: apply(choice, scores, direction, bank) for direction, choice in selection.choices.items()
            }
            found = measures[split].measure("plain", scores, scores)
            found |= measures[split].measure("sar", matrices["image_to_text"], matrices["text_to_image"])
            for name, measured in found.items():
                hits[split][name].append(measured)
    for split, measure in measures.items():
        result.metrics[split] = measure.summary(hits[split])
        for name in ("sar", "sar_lenient"):
            result.metrics[split][name]["transductive"] = any(choice["transductive"] for choice in result.choices)
        result.hits[split], result.image_of_text[split] = dict(hits[split]), measure.image_of_text
    return result


def _require_numbers(folder: Path, scores: np.ndarray, bank: Bank) -> None:
    for name, values in (("", scores), ("bank_texts, ", bank.text_to_image), ("bank_images, ", bank.image_to_text)):
        if values is not None:
            try:
                require_numbers(values, finite=True)
            except ValueError as error:
                raise MatrixError(f"{folder}: {name}{error}") from error


def elimination_summary(
    histories: list[list[dict[str, Any]]], trainings: list[dict[str, Any]]
) -> dict[str, dict[str, float | None]]:
    """Per similarity, what the elimination did from its first active epoch on; and `trained`, where it led.

    AUROC is the last epoch's, and under `trained` that of the model kept over all training pairs; the others are over
    all pairs of the epochs that had a threshold. Averaged over seeds. None where nothing is known to be weak, or
    nothing was dropped.

    Args:
        histories: history.json of each seed.
        trainings: training.json of each seed.
    """
    summary: dict[str, dict[str, float | None]] = {}
    for kind in histories[0][-1]["elimination"]:
        seeds = [_elimination_of_seed(history, kind) for history in histories]
        summary[kind] = rounded({key: _mean([values[key] for values in seeds]) for key in seeds[0]})
    if separations := [training["separation"] for training in trainings if training["separation"]]:
        summary["trained"] = rounded({key: _mean([values[key] for values in separations]) for key in separations[0]})
    return summary


def _elimination_of_seed(history: list[dict[str, Any]], kind: str) -> dict[str, float | None]:
    # coupled: the global threshold decides for both
    thresholds = [[audit["threshold"] for audit in record["elimination"].values()] for record in history]
    records = [record["elimination"][kind] for record in history]
    active = [record for record, found in zip(records, thresholds, strict=True) if any(t is not None for t in found)]
    dropped, pairs = sum(record["dropped"] for record in active), sum(record["pairs"] for record in active)
    untouched = sum(record["kinds"]["untouched"]["dropped"] for record in active)
    weak = pairs - sum(record["kinds"]["untouched"]["pairs"] for record in active)
    last = records[-1]
    return {
        "auroc": last["auroc"],
        **{f"auroc_{kind}": values["auroc"] for kind, values in last["kinds"].items() if kind != "untouched"},
        "dropped_share": dropped / pairs if pairs else 0.0,
        "precision": (dropped - untouched) / dropped if dropped and weak else None,
        "recall": (dropped - untouched) / weak if weak else None,
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
