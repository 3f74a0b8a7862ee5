"""What others published on a benchmark, and what was measured beside it."""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import pandas as pd

from iebaker.metrics.recall import RANKS

STRICT = "strict"
COLUMNS = {"method": 24, "backbone": 10, "training data": 34, "mR": 6, "difference": 10, "": 15}


def _table() -> pd.DataFrame:
    with resources.files("iebaker.report").joinpath("published.csv").open() as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""]).astype(object)


def published(benchmark: str, protocol: str = STRICT) -> list[dict[str, Any]]:
    """Rows of the packaged published.csv on one benchmark: numbers with source, backbone and training data.

    Args:
        protocol: how they were measured: `strict` as in the pipeline, or `skyscript`; the two are not comparable.
    """
    table = _table()
    rows = table[(table["benchmark"] == benchmark) & (table["protocol"] == protocol)].sort_values("mR", kind="stable")
    return list(rows.where(rows.notna(), None).to_dict("records"))


def benchmark_of(name: str) -> str:
    """The benchmark with published numbers that a file or folder is named after; "" if none is."""
    words = re.split(r"[^a-z0-9]+", name.lower())
    known = _table()["benchmark"].unique()
    return next((benchmark for benchmark in known if any(word.startswith(benchmark) for word in words)), "")


def beside(result: Mapping[str, Any], benchmark: str) -> dict[str, Any]:
    """Published numbers beside what `evaluate_model` measured, where they can be compared: on the test split.

    Args:
        result: of an evaluation: `protocol`, `split`, and `metrics` with "plain" and its 95% interval.
        benchmark: "" if it has none.

    Returns:
        `benchmark` and `published`: rows of `published` with `difference`, measured minus published mR in points, and
        `within_interval`, whether the published mR lies in the measured interval.
    """
    measured = result["metrics"]["plain"]
    rows = published(benchmark, result["protocol"]) if result["split"] == "test" else []
    compared = [
        {
            **row,
            "difference": round(measured["mR"] - row["mR"], 2),
            "within_interval": measured["mR_low"] <= row["mR"] <= measured["mR_high"],
        }
        for row in rows
    ]
    return {"benchmark": benchmark, "published": compared}


def as_text(result: Mapping[str, Any]) -> str:
    """What was measured, and the rows of `beside`, for the terminal."""
    measured, ties = result["metrics"]["plain"], result["decided_by_ties"]
    lines = [
        (
            f"{result['data']} {result['split']}, {result['protocol']}: {result['images']} images, "
            f"{result['captions']} captions, {result['distinct_captions']} distinct, {result['left_out']} left out"
        ),
        (
            f"mR {measured['mR']:.2f} [{measured['mR_low']:.2f}, {measured['mR_high']:.2f}], {result['similarity']} "
            f"similarity; ties decide {ties['image_to_text']} images and {ties['text_to_image']} captions"
        ),
        *(f"{way}  " + "  ".join(f"R@{k} {measured[f'{way}_R@{k}']:.2f}" for k in RANKS) for way in ("i2t", "t2i")),
    ]
    if ceiling := result["metrics"].get("ceiling"):
        tied = result["metrics"]["ceiling_tied"]
        lines.append(f"ceiling {ceiling['mR']:.2f}, {tied['mR']:.2f} with identical captions tied")
    lines += [f"note: {note}" for note in result["notes"]]
    if not result["published"]:
        return "\n".join([*lines, f"no published {result['protocol']} numbers for this data and split"])
    lines += ["", _line(COLUMNS)]
    for row in result["published"]:
        cells = [row["method"], row["backbone"], row["training_data"], f"{row['mR']:.2f}", f"{row['difference']:+.2f}"]
        lines.append(_line([*cells, "within interval" if row["within_interval"] else ""]))
    return "\n".join(lines)


def _line(cells: Iterable[str]) -> str:
    pairs = zip(cells, COLUMNS.values(), strict=True)
    return "  ".join(f"{cell[:width]:<{width}}" for cell, width in pairs).rstrip()
