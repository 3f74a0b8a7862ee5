"""From the similarity matrices of all seeds of a variant to its metrics (method: Evaluation, SAR)."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from iebaker.config.params import EvaluationConfig
from iebaker.errors import IebakerError
from iebaker.metrics.recall import Hits, require_numbers
from iebaker.metrics.summary import SplitMetrics
from iebaker.retrieval.fusion import bank_of, fused, scales_of
from iebaker.retrieval.matrices import EVALUATION_SPLITS
from iebaker.retrieval.rerank.selection import BankScores, Selection, apply, select

HITS_SUFFIX = ".npz"
CHOICES_SUFFIX = ".sar.json"


@dataclass
class VariantEvaluation:
    """What a variant reached on one benchmark.

    Attributes:
        metrics: per split, in the schema of reports/metrics.
        hits: per split and name ("plain", "sar", ...), one Hits a seed.
        image_of_text: per split, (N_text,).
        selections: per seed, the re-ranking that was chosen, with its validation table.
    """

    metrics: dict[str, Any] = field(default_factory=dict)
    hits: dict[str, dict[str, list[Hits]]] = field(default_factory=dict)
    image_of_text: dict[str, np.ndarray] = field(default_factory=dict)
    selections: list[Selection] = field(default_factory=list)

    def write(self, folder: Path, benchmark: str) -> None:
        """Write `<benchmark>.npz` and `<benchmark>.sar.json`, which `read_hits` and `read_selections` read."""
        arrays: dict[str, Any] = {f"{split}/image_of_text": ids for split, ids in self.image_of_text.items()}
        for split, names in self.hits.items():
            for name, per_seed in names.items():
                for side in Hits._fields:
                    arrays[f"{split}/{name}/{side}"] = np.stack([getattr(hits, side) for hits in per_seed])
        np.savez(folder / f"{benchmark}{HITS_SUFFIX}", **arrays)
        choices = [selection.as_dict() for selection in self.selections]
        (folder / f"{benchmark}{CHOICES_SUFFIX}").write_text(json.dumps(choices, indent=1) + "\n")


def read_hits(folder: Path, benchmark: str) -> dict[str, dict[str, list[Hits]]]:
    """`VariantEvaluation.hits` as `write` left them."""
    found: dict[str, dict[str, list[Hits]]] = defaultdict(dict)
    with np.load(folder / f"{benchmark}{HITS_SUFFIX}") as arrays:
        for key in arrays.files:
            split, name, *side = key.split("/")
            if side == [Hits._fields[0]]:
                sides = (arrays[f"{split}/{name}/{side}"] for side in Hits._fields)
                found[split][name] = [Hits(*of_seed) for of_seed in zip(*sides, strict=True)]
    return dict(found)


def read_image_of_text(folder: Path, benchmark: str, split: str) -> np.ndarray:
    """(N_text,) column of each text's own image."""
    with np.load(folder / f"{benchmark}{HITS_SUFFIX}") as arrays:
        columns: np.ndarray = arrays[f"{split}/image_of_text"]
    return columns


def read_selections(folder: Path, benchmark: str) -> list[Selection]:
    """How each seed is re-ranked, as validation decided."""
    choices = json.loads((folder / f"{benchmark}{CHOICES_SUFFIX}").read_text())
    return [Selection.from_dict(choice) for choice in choices]


def evaluate_variant(folders: Mapping[int, Path], config: EvaluationConfig) -> VariantEvaluation:
    """Evaluate one variant on one benchmark: plain and re-ranked, strict and lenient, over its seeds.

    Every re-ranking is chosen on the seed's own validation matrix, and only then applied to test.

    Args:
        folders: per seed, a folder with `val` and `test` as `export.export_split` writes them.
        config: fusion weights, and the re-ranking or how it is chosen.

    Raises:
        IebakerError: if a seed has no validation matrices, or one that cannot be ranked.
    """
    result = VariantEvaluation()
    hits: dict[str, dict[str, list[Hits]]] = defaultdict(lambda: defaultdict(list))
    measures: dict[str, SplitMetrics] = {}
    for folder in folders.values():
        if not (folder / "val").exists():
            raise IebakerError(
                f"{folder}/val is missing, and re-ranking is chosen on validation; "
                "set benchmark.<name>.validation_share"
            )
        scales = scales_of(folder / "val", config.fusion.standardise)
        selection = None
        for split in EVALUATION_SPLITS:
            if not (folder / split).exists():
                continue
            if split not in measures:
                texts = pd.read_parquet(folder / split / "texts.parquet")
                measures[split] = SplitMetrics(texts["image_of_text"].to_numpy(), texts["caption"].tolist())
            place = (folder / split, config.fusion, scales)
            scores, bank = fused(*place), bank_of(*place)
            _require_numbers(folder / split, scores, bank)
            if selection is None:
                selection = select(scores, measures[split].image_of_text, config.sar, bank)
                result.selections.append(selection)
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
            result.metrics[split][name]["transductive"] = any(chosen.transductive for chosen in result.selections)
        result.hits[split], result.image_of_text[split] = dict(hits[split]), measure.image_of_text
    return result


def _require_numbers(folder: Path, scores: np.ndarray, bank: BankScores) -> None:
    for name, values in (("", scores), ("bank_texts, ", bank.text_to_image), ("bank_images, ", bank.image_to_text)):
        if values is not None:
            try:
                require_numbers(values, finite=True)
            except IebakerError as error:
                raise IebakerError(f"{folder}: {name}{error}") from error
