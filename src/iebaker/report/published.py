"""What others published on a benchmark, and what was measured beside it."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import pandas as pd

STRICT = "strict"
COLUMNS = {"method": 24, "backbone": 10, "training data": 34, "mR": 6, "difference": 10, "": 12}


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
    return rows.where(rows.notna(), None).to_dict("records")


def benchmark_of(name: str) -> str:
    """The benchmark with published numbers that a file or folder is named after; "" if none is."""
    known = _table()["benchmark"].unique()
    return next((benchmark for benchmark in known if benchmark in name.lower()), "")


def compared(measured: Mapping[str, float], benchmark: str, protocol: str) -> list[dict[str, Any]]:
    """The published rows, each with what was measured against it.

    Args:
        measured: `mR` with its 95% interval `mR_low`, `mR_high`, in percent.

    Returns:
        Rows of `published` with `difference`, measured minus published mR, and `within_interval`, whether the published
        mR lies in the measured interval.
    """
    return [
        {
            **row,
            "difference": round(measured["mR"] - row["mR"], 2),
            "within_interval": measured["mR_low"] <= row["mR"] <= measured["mR_high"],
        }
        for row in published(benchmark, protocol)
    ]


def as_text(rows: list[dict[str, Any]]) -> str:
    """A table of `compared` for the terminal."""
    lines = ["  ".join(f"{name:<{width}}" for name, width in COLUMNS.items()).rstrip()]
    for row in rows:
        cells = [row["method"], row["backbone"], row["training_data"], f"{row['mR']:.2f}", f"{row['difference']:+.2f}"]
        cells.append("within interval" if row["within_interval"] else "")
        widths = COLUMNS.values()
        lines.append("  ".join(f"{cell[:width]:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip())
    return "\n".join(lines)
