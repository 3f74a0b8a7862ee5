"""A parameter swept over finished experiments: mR and the quality of the elimination, per elimination scheme."""

from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from iebaker.config.declarations import resolve
from iebaker.config.files import dotted
from iebaker.errors import IebakerError
from iebaker.metrics.elimination import ELIMINATION
from iebaker.report import style

SCHEME = "eba.scheme"
SCHEMES = ("none", "coupled", "decoupled")
# these may differ between the experiments of one sweep, beside the parameter and the scheme
FREE = ("seeds", "variants", "corpora")
LINE = ["corpus", "benchmark", "scheme", "seeds"]  # of one curve
KEY = ["split", "parameter", "value", *LINE]
MR = ("mR", "mR_std", "mR_low", "mR_high")
QUALITY = ("dropped_share", "precision", "recall", "auroc")
LABELS = {"synthetic.weak_rate": "share of weak captions", "eba.drop_ratio": "drop ratio"}


def collect(
    shown: list[dict[str, Any]], parameter: str, variant: str, settings: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Finished experiments that differ from the workspace in `parameter` and scheme alone.

    Args:
        shown: what `dvc exp show --json` prints.
        parameter: dotted name in params.yaml.
        variant: whose metrics are read.
        settings: parameters by dotted name, and the values that the experiments have and the workspace need not.

    Returns:
        One row per corpus, benchmark, split, value, scheme and number of seeds: plain mR (percent) with std and
        interval, sar_mR and whether that is transductive, per similarity dropped_share, precision, recall and auroc,
        and auroc_trained; of a repeated experiment the newest.

    Raises:
        IebakerError: if no experiment has metrics of this variant.
    """
    runs = [data for data in _finished(shown) if data.get("params") and data.get("metrics")]
    settings = settings or {}
    kept = {parameter, SCHEME, *FREE} - settings.keys()
    reference = _fixed(_workspace(shown), kept) | dict(settings)
    rows: list[dict[str, Any]] = []
    for data in sorted(runs, key=lambda data: data["timestamp"] or ""):
        params = _params(data)
        if parameter in params and _fixed(data, kept) == reference:
            rows += _rows(data, parameter, variant)
    if not rows:
        raise IebakerError(
            f"no finished experiment has metrics of variant {variant} and the parameter {parameter} ("
            + "".join(f"{key}={value}, " for key, value in settings.items())
            + "other parameters as in the workspace); queue some with `dvc exp run --queue -S`"
        )
    table = pd.DataFrame(rows).drop_duplicates(KEY, keep="last")
    return table.sort_values([*LINE[:2], *KEY[:3], *LINE[2:]], ignore_index=True)


def sweep_plot(table: pd.DataFrame, path: Path) -> None:
    """mR on the last split over the swept parameter, plain and re-ranked, and where known what was dropped, per scheme.

    Args:
        table: as `collect` gives it, of one parameter.
        path: SVG to write.
    """
    table = table[table["split"] == ("test" if "test" in set(table["split"]) else "val")]
    parameter, order = table["parameter"].iat[0], style.by_order(SCHEMES)
    table = table.sort_values("scheme", key=lambda names: names.map(order), kind="stable")
    known = [name for name in ("global", "local") if table.get(f"auroc_{name}", pd.Series(dtype=float)).notna().any()]
    with style.figure(path, 9, 0.5 + 2.9 * (1 + len(known))) as drawing:
        axes = style.panels(drawing, 1 + len(known), 2)
        _curves(axes[0], table, order, "mR")
        axes[0].set(title=f"mR (%) on {table['split'].iat[0]}, 95% interval")
        _curves(axes[1], table, order, "sar_mR")
        axes[1].set(title=f"mR (%) {style.after_sar(table['sar_transductive'])}")
        axes[1].sharey(axes[0])
        axes[1].autoscale_view()
        for similarity, quality, separation in zip(known, axes[2::2], axes[3::2], strict=True):
            _curves(quality, table, order, f"precision_{similarity}")
            _curves(quality, table, order, f"recall_{similarity}", alpha=0.5)
            quality.set(title=f"precision, and faint recall, of the dropped ({similarity})", ylim=(-0.02, 1.02))
            _curves(separation, table, order, f"auroc_{similarity}")
            separation.set(title=f"AUROC of weak against untouched ({similarity})", ylim=(0.49, 1.01))
        for panel in axes:
            panel.set(xlabel=LABELS.get(parameter, parameter), xlim=axes[0].get_xlim())
        style.legend_below(drawing, axes[0])


def _curves(axes: Axes, table: pd.DataFrame, order: dict[str, int], column: str, alpha: float = 1.0) -> None:
    told = [name for name in LINE if name == "scheme" or table[name].nunique() > 1]
    for key, rows in table.groupby(LINE, sort=False):
        of = dict(zip(LINE, key, strict=True))
        part, look = rows.dropna(subset=column), style.line_style(order[of["scheme"]])
        label = ", ".join(f"seeds: {of[name]}" if name == "seeds" else of[name] for name in told)
        axes.plot(part["value"], part[column], label=label, alpha=alpha, **look)
        if column == "mR":
            axes.fill_between(part["value"], part["mR_low"], part["mR_high"], color=look["color"], alpha=0.12, lw=0)


def _workspace(shown: list[dict[str, Any]]) -> dict[str, Any]:
    return next(entry["data"] for entry in shown if entry.get("name") is None)


def _finished(shown: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The `data` of every finished experiment: DVC shows those that wait or run with the metrics they started from."""
    for commit in shown:
        for experiment in commit.get("experiments") or []:
            if (experiment.get("executor") or {"state": "success"})["state"] == "success":
                yield from (entry["data"] for entry in experiment["revs"] if entry.get("data"))


def _params(data: Mapping[str, Any]) -> dict[str, Any]:
    return dotted(data["params"]["params.yaml"]["data"])


def _fixed(data: Mapping[str, Any], free: set[str]) -> dict[str, Any]:
    return {key: value for key, value in _params(data).items() if key not in free}


def _value(data: Mapping[str, Any], parameter: str, corpus: str, variant: str) -> Any:
    """Of the parameter; where it is null, what the recipe or the corpus says."""
    value = _params(data)[parameter]
    if value is None:
        for config in resolve(data["params"]["params.yaml"]["data"], corpus, variant):
            value = dotted(config.model_dump()).get(parameter, value)
    return value


def _rows(data: Mapping[str, Any], parameter: str, variant: str) -> Iterator[dict[str, Any]]:
    params = _params(data)
    for file, content in data["metrics"].items():
        path, metrics = PurePosixPath(file), content.get("data", {})
        if path.stem != variant or path.parent.name not in params["corpora"]:
            continue
        audits = metrics.get(ELIMINATION, {})
        dropped = {f"{key}_{name}": audit[key] for name, audit in audits.items() for key in QUALITY if key in audit}
        for benchmark, splits in metrics.items():
            if benchmark == ELIMINATION:
                continue
            for split, values in splits.items():
                row = {"corpus": path.parent.name, "benchmark": benchmark, "split": split, "parameter": parameter}
                row |= {
                    "value": _value(data, parameter, path.parent.name, variant),
                    "scheme": params[SCHEME],
                    "seeds": len(params["seeds"]),
                }
                row |= {key: values["plain"].get(key) for key in MR}  # DVC shows no nulls
                row |= {"sar_mR": values["sar"]["mR"], "sar_transductive": values["sar"]["transductive"]}
                yield row | dropped
