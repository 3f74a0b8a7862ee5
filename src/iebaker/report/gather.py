"""The report's numbers as plain rows: what was measured, what others published, and what it ran on."""

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from iebaker import doctor
from iebaker.metrics.elimination import ELIMINATION
from iebaker.report.results import CorpusResults

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
    measured = {path.stem: json.loads(path.read_text()) for path in paths}
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
    values = json.loads(next((metrics / corpus).glob("*.json")).read_text())[benchmark][split]
    names = {"ceiling": "ceiling, best order", "ceiling_tied": "ceiling, identical captions tied"}
    return {label: values[name] for name, label in names.items() if name in values}


def elimination(metrics: Path, corpus: str) -> list[dict[str, Any]]:
    """One row per variant and similarity that dropped pairs, or whose weak pairs are known."""
    rows, nothing = [], dict.fromkeys(("dropped_share", "precision", "recall"))
    for path in sorted((metrics / corpus).glob("*.json")):
        for similarity, values in json.loads(path.read_text()).get(ELIMINATION, {}).items():
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


def machine(results: CorpusResults, logs: Path) -> list[dict[str, Any]]:
    """Device and time of each training that ran on this machine."""
    rows = []
    for variant in results.variants:
        for seed in results.seeds:
            path = logs / results.corpus / variant / f"{seed}.json"
            if path.exists():
                rows.append({"variant": variant, "seed": seed, **json.loads(path.read_text())})
    return rows


def versions() -> dict[str, str]:
    """Versions of what shapes the numbers, and the machine that wrote the report."""
    found = {"iebaker": doctor.installed("iebaker"), "Python": platform.python_version()}
    found |= {name: doctor.installed(name) for name in doctor.REPORTED}
    found["system"] = f"{platform.system()} {platform.machine()}"
    found["devices"] = "; ".join(line.removeprefix("device ") for line in doctor.devices())
    return {name: value for name, value in found.items() if value}


def overrides(params: Mapping[str, Any]) -> dict[str, str]:
    """What each variant changes, as `-S` would write it."""
    return {variant: ", ".join(_flat(params["variant"][variant] or {})) or "nothing" for variant in params["variants"]}


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    parts = []
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        parts += _flat(value, f"{prefix}{key}.") if nested else [f"{prefix}{key}={json.dumps(value).strip(chr(34))}"]
    return parts
