"""What the stages left of one corpus, opened for tables, figures and examples."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from iebaker.config.files import read_evaluation
from iebaker.config.params import FusionParams
from iebaker.layout import Folders
from iebaker.metrics.recall import Hits
from iebaker.retrieval.evaluation import read_hits, read_image_of_text, read_selections
from iebaker.retrieval.fusion import bank_of, fused, scales_of
from iebaker.retrieval.rerank.selection import DIRECTIONS, Selection, apply

REFERENCE = "baseline"


@dataclass(frozen=True)
class CorpusResults:
    """One corpus's trainings and evaluations.

    Attributes:
        corpus: its name.
        variants: rows of the ablation, in order; the last is the whole method.
        seeds: trainings of each variant.
        benchmarks: its members, sorted.
        fusion: parameters of each variant.
        models: folder of <variant>/<seed>/, as the stage `train` writes it.
        matrices: folder of <variant>/<seed>/<benchmark>/<split>/, as `export_similarity` writes it.
        evaluation: folder of <variant>/<benchmark>.npz and .sar.json, as `rerank` writes it.
        metrics_folder: folder of <variant>.json.
    """

    corpus: str
    variants: list[str]
    seeds: list[int]
    benchmarks: list[str]
    fusion: dict[str, FusionParams]
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
        return dict(_json(self.metrics_folder / f"{variant}.json"))

    def history(self, variant: str, seed: int) -> list[dict[str, Any]]:
        """One record an epoch."""
        return list(_json(self.models / variant / str(seed) / "history.json"))

    def training(self, variant: str, seed: int) -> dict[str, Any]:
        """Summary of one training: best epoch, pairs, steps."""
        return dict(_json(self.models / variant / str(seed) / "training.json"))

    def hits(self, variant: str, benchmark: str) -> dict[str, dict[str, list[Hits]]]:
        """Per split and name ("plain", "sar", ...), one Hits a seed."""
        return read_hits(self.evaluation / variant, benchmark)

    def image_of_text(self, benchmark: str, split: str) -> np.ndarray:
        """(N_text,) column of each text's own image."""
        return read_image_of_text(self.evaluation / self.reference, benchmark, split)

    def selections(self, variant: str, benchmark: str) -> list[Selection]:
        """How each seed is re-ranked, as validation decided."""
        return read_selections(self.evaluation / variant, benchmark)

    def matrix_folder(self, variant: str, seed: int, benchmark: str, split: str) -> Path:
        """Folder of one split's matrices with the ids of rows and columns."""
        return self.matrices / variant / str(seed) / benchmark / split

    def scores(self, variant: str, seed: int, benchmark: str, split: str) -> dict[str, dict[str, np.ndarray]]:
        """Fused similarities before (`plain`) and after (`sar`) re-ranking, (N_text, N_image) each, by direction."""
        folder = self.matrix_folder(variant, seed, benchmark, split)
        params = self.fusion[variant]
        scales = scales_of(self.matrix_folder(variant, seed, benchmark, "val"), params.standardise)
        plain, bank = fused(folder, params, scales), bank_of(folder, params, scales)
        choices = self.selections(variant, benchmark)[self.seeds.index(seed)].choices
        return {
            "plain": dict.fromkeys(DIRECTIONS, plain),
            "sar": {one: apply(choices[one], plain, one, bank) for one in DIRECTIONS},
        }


def open_results(params: Mapping[str, Any], corpus: str, folders: Folders) -> CorpusResults:
    """The results of one corpus.

    Args:
        params: params.yaml as plain data.
        corpus: one of its corpora.
        folders: where the stages left them.
    """
    variants = list(params["variants"])
    return CorpusResults(
        corpus=corpus,
        variants=variants,
        seeds=list(params["seeds"]),
        benchmarks=sorted(set(params["corpus"][corpus]["benchmarks"]) & set(params["benchmarks"])),
        fusion={variant: read_evaluation(folders.config / corpus / variant).fusion for variant in variants},
        models=folders.models / corpus,
        matrices=folders.matrices / corpus,
        evaluation=folders.evaluation / corpus,
        metrics_folder=folders.metrics / corpus,
    )


def _json(path: Path) -> Any:
    return json.loads(path.read_text())
