"""What the stages left of one corpus, opened for tables, figures and examples."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iebaker.declarations import similarity_of
from iebaker.evaluation import bank_of, fused, scales_of
from iebaker.metrics.recall import Hits
from iebaker.params import SimilarityParams
from iebaker.rerank.selection import DIRECTIONS, Selection, apply

REFERENCE = "baseline"


@dataclass(frozen=True)
class CorpusResults:
    """One corpus's trainings and evaluations.

    Attributes:
        corpus: its name.
        variants: rows of the ablation, in order; the last is the whole method.
        seeds: trainings of each variant.
        benchmarks: its members, sorted.
        similarity: fusion parameters of each variant.
        models: folder of <variant>/<seed>/, as the stage `train` writes it.
        matrices: folder of <variant>/<seed>/<benchmark>/<split>/, as `export_similarity` writes it.
        evaluation: folder of <variant>/<benchmark>.npz and .sar.json, as `rerank` writes it.
        metrics_folder: folder of <variant>.json.
    """

    corpus: str
    variants: list[str]
    seeds: list[int]
    benchmarks: list[str]
    similarity: dict[str, SimilarityParams]
    models: Path
    matrices: Path
    evaluation: Path
    metrics_folder: Path

    @property
    def reference(self) -> str:
        """The variant that the others are compared with: the baseline, or the first where there is none."""
        return REFERENCE if REFERENCE in self.variants else self.variants[0]

    @property
    def whole(self) -> str:
        """The variant that stands for the method: the last."""
        return self.variants[-1]

    def metrics(self, variant: str) -> dict[str, Any]:
        """Content of reports/metrics, by benchmark."""
        return _json(self.metrics_folder / f"{variant}.json")

    def history(self, variant: str, seed: int) -> list[dict[str, Any]]:
        """One record an epoch."""
        return _json(self.models / variant / str(seed) / "history.json")

    def training(self, variant: str, seed: int) -> dict[str, Any]:
        """Summary of one training: best epoch, pairs, steps."""
        return _json(self.models / variant / str(seed) / "training.json")

    def hits(self, variant: str, benchmark: str) -> dict[str, dict[str, list[Hits]]]:
        """Per split and name ("plain", "sar", ...), one Hits a seed."""
        found: dict[str, dict[str, list[Hits]]] = defaultdict(dict)
        with np.load(self.evaluation / variant / f"{benchmark}.npz") as arrays:
            for key in arrays.files:
                split, name, *side = key.split("/")
                if side == ["image_to_text"]:
                    found[split][name] = [
                        Hits(*pair) for pair in zip(arrays[key], arrays[f"{split}/{name}/text_to_image"], strict=True)
                    ]
        return dict(found)

    def image_of_text(self, benchmark: str, split: str) -> np.ndarray:
        """(N_text,) column of each text's own image."""
        with np.load(self.evaluation / self.reference / f"{benchmark}.npz") as arrays:
            return arrays[f"{split}/image_of_text"]

    def selections(self, variant: str, benchmark: str) -> list[Selection]:
        """How each seed is re-ranked, as validation decided."""
        return [Selection.from_dict(one) for one in _json(self.evaluation / variant / f"{benchmark}.sar.json")]

    def matrix_folder(self, variant: str, seed: int, benchmark: str, split: str) -> Path:
        """Folder of one split's matrices with the ids of rows and columns."""
        return self.matrices / variant / str(seed) / benchmark / split

    def scores(self, variant: str, seed: int, benchmark: str, split: str) -> dict[str, dict[str, np.ndarray]]:
        """Fused similarities before (`plain`) and after (`sar`) re-ranking, (N_text, N_image) each, by direction."""
        folder = self.matrix_folder(variant, seed, benchmark, split)
        params = self.similarity[variant]
        scales = scales_of(self.matrix_folder(variant, seed, benchmark, "val"), params)
        plain, bank = fused(folder, params, scales), bank_of(folder, params, scales)
        choices = self.selections(variant, benchmark)[self.seeds.index(seed)].choices
        return {
            "plain": dict.fromkeys(DIRECTIONS, plain),
            "sar": {one: apply(choices[one], plain, one, bank) for one in DIRECTIONS},
        }


def open_results(
    params: Mapping[str, Any], corpus: str, models: Path, matrices: Path, evaluation: Path, metrics: Path
) -> CorpusResults:
    """The results of one corpus.

    Args:
        params: params.yaml as plain data.
        corpus: one of its corpora.
        models, matrices, evaluation, metrics: roots that hold a folder for each corpus.
    """
    variants = list(params["variants"])
    return CorpusResults(
        corpus=corpus,
        variants=variants,
        seeds=list(params["seeds"]),
        benchmarks=sorted(set(params["members"][corpus]) & set(params["benchmarks"])),
        similarity={variant: similarity_of(params, corpus, variant) for variant in variants},
        models=models / corpus,
        matrices=matrices / corpus,
        evaluation=evaluation / corpus,
        metrics_folder=metrics / corpus,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
