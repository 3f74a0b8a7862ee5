"""The report's numbers as plain rows: what was measured, what others published, and what it ran on."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from iebaker import doctor
from iebaker.config.files import dotted
from iebaker.errors import IebakerError
from iebaker.metrics.elimination import ELIMINATION
from iebaker.report.results import read_json
from iebaker.report.shareable import shareable

RECALLS = tuple(f"{direction}_R@{rank}" for direction in ("i2t", "t2i") for rank in (1, 5, 10))
CLOUD_WORDS = 110
CLOUD_SIZES = (0.8, 2.4)  # em, of the rarest and the most frequent word shown
MATRIX_LABELS = {"plain": "plain", "sar": "SAR"}


def headline(metrics: Path, ablation: Path, corpus: str) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Measured rows of one corpus, per benchmark and split.

    Each row has variant, matrix ("plain" or "sar") with its label, mR with std and interval, the six recalls and the
    lenient mR; rows of "sar" also transductive; where the ablation has them, difference to the reference with p_holm.
    """
    paths = sorted((metrics / corpus).glob("*.json"))
    measured = {path.stem: _metrics(path) for path in paths}
    table = ablation / corpus / "ablation.csv"
    compared = pd.read_csv(table).astype(object) if table.exists() else pd.DataFrame()
    if len(compared):
        order = {variant: index for index, variant in enumerate(compared["variant"].unique())}
        measured = dict(sorted(measured.items(), key=lambda item: order.get(item[0], len(order))))
        compared = compared.where(compared.notna(), None).set_index(["benchmark", "split", "variant", "matrix"])
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for variant, benchmarks in measured.items():
        for benchmark in sorted(set(benchmarks) - {ELIMINATION}):
            for split, values in benchmarks[benchmark].items():
                rows = found.setdefault(benchmark, {}).setdefault(split, [])
                for matrix, label in MATRIX_LABELS.items():
                    key = (benchmark, split, variant, matrix)
                    extra = compared.loc[key].to_dict() if len(compared) and key in compared.index else {}
                    lenient = values.get(f"{matrix}_lenient", {}).get("mR")
                    row = {"variant": variant, "label": label, "matrix": matrix, "lenient": lenient}
                    rows.append(extra | values[matrix] | row)
    return found


def ceilings(metrics: Path, corpus: str, benchmark: str, split: str) -> dict[str, dict[str, float]]:
    """The best that any model can reach, by name; the same for every variant."""
    values = _metrics(next((metrics / corpus).glob("*.json")))[benchmark][split]
    names = {"ceiling": "ceiling, best order", "ceiling_tied": "ceiling, identical captions tied"}
    return {label: values[name] for name, label in names.items() if name in values}


def elimination(metrics: Path, corpus: str) -> list[dict[str, Any]]:
    """One row per variant and similarity that dropped pairs, or whose weak pairs are known."""
    rows, nothing = [], dict.fromkeys(("dropped_share", "precision", "recall"))
    for path in sorted((metrics / corpus).glob("*.json")):
        for similarity, values in _metrics(path).get(ELIMINATION, {}).items():
            if values["auroc"] is not None or values.get("dropped_share"):
                label = "global, trained model, all pairs" if similarity == "trained" else similarity
                rows.append({"variant": path.stem, "similarity": label, **nothing, **values})
    return rows


def cloud(folder: Path) -> list[dict[str, Any]]:
    """The most frequent keywords of a benchmark in alphabetical order, each with count and font size in em."""
    mined = pd.read_csv(folder / "counts.csv", keep_default_na=False)
    top = mined.sort_values(["count", "keyword"], ascending=[False, True]).head(CLOUD_WORDS).sort_values("keyword")
    root = top["count"].astype(float) ** 0.5
    share = (root - root.min()) / max(root.max() - root.min(), 1e-9)
    size = CLOUD_SIZES[0] + share * (CLOUD_SIZES[1] - CLOUD_SIZES[0])
    return list(top.assign(size=size.round(2)).to_dict("records"))


def reranking(ablation: Path, corpus: str) -> list[dict[str, Any]]:
    """Rows of `tables.reranking`; none where the corpus has no ablation."""
    path = ablation / corpus / "reranking.csv"
    return pd.read_csv(path, keep_default_na=False).to_dict("records") if path.exists() else []


def machine(params: Mapping[str, Any], logs: Path) -> str:
    """Markdown on this machine: its devices, and the time of each selected training that ran on it."""
    lines = ["# This machine", "", f"{platform.system()} {platform.machine()}, Python {platform.python_version()}"]
    lines += [line.removeprefix("device ") for line in doctor.devices()]
    head = [
        "",
        "| corpus | variant | seed | device | seconds | of it training | pairs/s |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = []
    for corpus in params["corpora"]:
        for variant in params["variants"]:
            for seed in params["seeds"]:
                path = logs / corpus / variant / f"{seed}.json"
                if path.exists():
                    log = read_json(path)
                    values = [log.get(key) for key in ("device", "seconds", "training_seconds", "samples_per_second")]
                    rows.append("| " + " | ".join(map(str, (corpus, variant, seed, *values))) + " |")
    nothing = ["", "No training of the selected corpora ran here: results came from the cache."]
    return "\n".join([*lines, *(head + rows if rows else nothing)]) + "\n"


def versions() -> dict[str, str]:
    """Versions of what shapes the numbers."""
    found = {"iebaker": doctor.installed("iebaker"), "Python": platform.python_version()}
    found |= {name: doctor.installed(name) for name in doctor.REPORTED}
    return {name: value for name, value in found.items() if value}


def overrides(params: Mapping[str, Any]) -> dict[str, str]:
    """What each variant changes, as `-S` would write it."""
    return {variant: _settings(params["variant"][variant] or {}) or "nothing" for variant in params["variants"]}


def _settings(values: Mapping[str, Any]) -> str:
    shown = {key: shareable(json.dumps(value)).strip('"') for key, value in dotted(values).items()}
    return ", ".join(f"{key}={value}" for key, value in shown.items())


def _metrics(path: Path) -> dict[str, Any]:
    """A file of reports/metrics; IebakerError for one that no stage wrote."""
    found: dict[str, Any] = read_json(path)
    splits = [split for benchmark in found.values() for split in benchmark.values()] if _nested(found) else [None]
    if not all(isinstance(split, dict) for split in splits):
        raise IebakerError(f"{path}: no metrics as the stage `rerank` writes them; get it back from git, or remove it")
    return found


def _nested(values: Any) -> bool:
    return isinstance(values, dict) and all(isinstance(value, dict) for value in values.values())
