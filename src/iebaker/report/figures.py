"""Figures of the ablation, drawn from the tables of `tables.py` alone."""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from iebaker.report import style

SIGNIFICANT = 0.01
KINDS = ("other", "injected", "sibling", "vague", "untouched")
DIRECTIONS = {"image_to_text": "image to text", "text_to_image": "text to image"}
ERROR = {"ecolor": style.INK, "capsize": 2, "elinewidth": 0.9}


def ablation(table: pd.DataFrame, path: Path) -> None:
    """Per benchmark: test mR of every variant before and after SAR, and its paired difference to the reference."""
    table = table[table["split"] == table["split"].iloc[-1]]
    benchmarks, variants = table["benchmark"].unique(), table["variant"].unique()
    labels = {"plain": "plain", "sar": style.after_sar(table.loc[table["matrix"] == "sar", "transductive"])}
    height = 0.8 + len(benchmarks) * (0.7 + 0.42 * len(variants))
    with style.figure(path, 9, height) as drawing:
        axes = style.panels(drawing, len(benchmarks), 2, width_ratios=[3, 2])
        for row, benchmark in enumerate(benchmarks):
            part = table[table["benchmark"] == benchmark]
            _bars(axes[2 * row], part, variants, labels, f"{benchmark}: mR on {part['split'].iat[0]}, 95% interval")
            _differences(axes[2 * row + 1], part, variants)
        style.legend_below(drawing, axes[0])


def _bars(axes: Axes, part: pd.DataFrame, variants: np.ndarray, labels: dict[str, str], title: str) -> None:
    for index, matrix in enumerate(labels):
        rows = part[part["matrix"] == matrix].set_index("variant").loc[variants]
        place = np.arange(len(variants)) + 0.38 * index - 0.19
        error = [rows["mR"] - rows["mR_low"], rows["mR_high"] - rows["mR"]]
        look = {"label": labels[matrix], "error_kw": ERROR, **style.bar_style(index)}
        axes.barh(place, rows["mR"], height=0.36, xerr=error, **look)
        for y, value, high in zip(place, rows["mR"], rows["mR_high"], strict=True):
            axes.annotate(f"{value:.1f}", (high, y), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_xlim(0, 1.14 * part["mR_high"].max())
    _variant_axis(axes, variants)
    axes.set(title=title, xlabel="mR (%)")


def _differences(axes: Axes, part: pd.DataFrame, variants: np.ndarray) -> None:
    if part["difference"].isna().all():
        _empty(axes, "one variant: nothing to compare with")
        return
    for index, matrix in enumerate(("plain", "sar")):
        rows = part[part["matrix"] == matrix].set_index("variant").loc[variants]
        place = np.arange(len(variants)) + 0.38 * index - 0.19
        known = rows["difference"].notna().to_numpy()
        rows, place = rows[known], place[known]
        error = [rows["difference"] - rows["difference_low"], rows["difference_high"] - rows["difference"]]
        look = {key: value for key, value in style.line_style(index).items() if key != "linestyle"}
        axes.errorbar(rows["difference"], place, xerr=error, linestyle="none", capsize=2.5, **look)
        for y, high, p in zip(place, rows["difference_high"], rows["p_holm"], strict=True):
            if p < SIGNIFICANT:
                axes.annotate("*", (high, y), (4, -2), textcoords="offset points", va="center", fontweight="bold")
    axes.axvline(0, color=style.INK, linewidth=0.8)
    _variant_axis(axes, variants)
    axes.tick_params(axis="y", labelleft=False)
    axes.set(title="against the reference, paired", xlabel="mR (points); * corrected p < 0.01")


def training(table: pd.DataFrame, path: Path) -> None:
    """Loss and validation mR over epochs: the mean over seeds, the range of seeds shaded, the kept epochs starred."""
    if table.empty:
        _nothing(path, "nothing was trained")
        return
    with style.figure(path, 9, 3.6) as drawing:
        axes = style.panels(drawing, 1, 2)
        for index, (variant, rows) in enumerate(table.groupby("variant", sort=False)):
            for panel, column in zip(axes, ("loss", "val_mR"), strict=True):
                _curve(panel, rows, "epoch", column, index, variant)
            kept = rows[rows["best"]]
            look = {"color": style.line_style(index)["color"], "marker": "*", "edgecolor": style.INK, "zorder": 3}
            axes[1].scatter(kept["epoch"], kept["val_mR"], s=90, linewidth=0.5, **look)
        axes[0].set(title="loss, all its parts", ylabel="cross-entropy (nats)")
        axes[1].set(title="validation; * epoch that was kept", ylabel="mR (%)")
        for panel in axes:
            _epoch_axis(panel, table)
        style.legend_below(drawing, axes[0], columns=6)


def elimination(table: pd.DataFrame, path: Path) -> None:
    """What was dropped per epoch, by kind; where weak pairs are known, also precision, recall and AUROC."""
    if table.empty:
        _nothing(path, "nothing was trained")
        return
    similarities = table["similarity"].unique()
    known = table["auroc"].notna().any()
    with style.figure(path, 9, 8.9 if known else 3.4) as drawing:
        panels = style.panels(drawing, 3 if known else 1, len(similarities))
        axes = np.array(panels, dtype=object).reshape(-1, len(similarities))
        order = style.by_order(table["variant"])
        for column, similarity in enumerate(similarities):
            part = table[table["similarity"] == similarity]
            _dropped(axes[0, column], part, similarity)
            if known:
                _precision(axes[1, column], part, similarity, order)
                _auroc(axes[2, column], part, similarity, order)
            for panel in axes[:, column]:
                _epoch_axis(panel, table)
        if known:
            style.legend_below(drawing, axes[2, 0], 5)


def _dropped(axes: Axes, part: pd.DataFrame, similarity: str) -> None:
    active = part[part["dropped"] > 0]
    axes.set(title=f"dropped by {similarity} similarity", ylabel="pairs")
    if active.empty:
        _empty(axes, "nothing was dropped")
        return
    variant = active["variant"].iloc[-1]
    by_epoch = part[part["variant"] == variant].groupby("epoch").mean(numeric_only=True)
    bottom = np.zeros(len(by_epoch))
    for index, kind in enumerate(KINDS):
        if f"dropped_{kind}" in by_epoch and part[f"pairs_{kind}"].notna().any():
            counts = by_epoch[f"dropped_{kind}"].fillna(0)
            look = style.bar_style(index)
            axes.bar(by_epoch.index, counts, bottom=bottom, width=0.8, label=kind, edgecolor="white", **look)
            bottom += counts
    axes.set_title(f"dropped by {similarity} similarity ({variant})")
    axes.legend(fontsize=8)


def _precision(axes: Axes, part: pd.DataFrame, similarity: str, order: dict[str, int]) -> None:
    active = part[part["dropped"] > 0]
    for variant, rows in active.groupby("variant", sort=False):
        _curve(axes, rows, "epoch", "precision", order[variant], variant)
        _curve(axes, rows, "epoch", "recall", order[variant], variant, faint=True)
    axes.set(title=f"precision, and faint recall, of the dropped ({similarity})", ylim=(-0.02, 1.02))


def _auroc(axes: Axes, part: pd.DataFrame, similarity: str, order: dict[str, int]) -> None:
    for variant, rows in part.groupby("variant", sort=False):
        _curve(axes, rows, "epoch", "auroc", order[variant], variant)
    axes.set(title=f"AUROC of weak against untouched ({similarity})", ylim=(None, 1.005))


def fusion(table: pd.DataFrame, path: Path) -> None:
    """Validation mR over the weight of local similarity, a row per benchmark."""
    benchmarks = table["benchmark"].unique()
    if not len(benchmarks):
        _nothing(path, "no local similarity was trained")
        return
    with style.figure(path, 9, 0.6 + 2.9 * len(benchmarks)) as drawing:
        axes = style.panels(drawing, len(benchmarks), 2, sharey="row")
        for place, (benchmark, scale) in enumerate((b, s) for b in benchmarks for s in ("published", "standardised")):
            part = table[(table["benchmark"] == benchmark) & (table["scale"] == scale)]
            for index, (variant, rows) in enumerate(part.groupby("variant", sort=False)):
                _curve(axes[place], rows, "local_weight", "mR", index, variant)
            scaling = "as they are" if scale == "published" else "each divided by its deviation"
            axes[place].set(title=f"{benchmark}: S and L {scaling}", xlabel="weight of local similarity L")
            axes[place].set_ylabel("validation mR (%)")
        axes[0].axvline(0.4, color=style.FAINT, linewidth=0.8, linestyle=":")
        axes[0].annotate("published", (0.4, 0), (3, 4), xycoords=("data", "axes fraction"),
                         textcoords="offset points", fontsize=8, color=style.FAINT)  # fmt: skip
        style.legend_below(drawing, axes[0], columns=6)


def recall_at_k(table: pd.DataFrame, path: Path) -> None:
    """Recall over K: first and last variant, the last also after SAR, a row per benchmark."""
    benchmarks, variants = table["benchmark"].unique(), list(table["variant"].unique())
    shown = [(variants[0], "plain")] + [(variants[-1], matrix) for matrix in ("plain", "sar")]
    shown = list(dict.fromkeys(shown))
    after_sar = style.after_sar(table.loc[table["matrix"] == "sar", "transductive"])
    with style.figure(path, 9, 0.6 + 2.9 * len(benchmarks)) as drawing:
        axes = style.panels(drawing, len(benchmarks), 2)
        for place, (benchmark, direction) in enumerate((b, d) for b in benchmarks for d in DIRECTIONS):
            part = table[(table["benchmark"] == benchmark) & (table["direction"] == direction)]
            for index, (variant, matrix) in enumerate(shown):
                rows = part[(part["variant"] == variant) & (part["matrix"] == matrix)]
                label = variant if matrix == "plain" else f"{variant} {after_sar}"
                _curve(axes[place], rows, "K", "recall", index, label)
            axes[place].set_xscale("log")
            axes[place].set_xticks([1, 5, 10, 20, 50], ["1", "5", "10", "20", "50"])
            axes[place].minorticks_off()
            title = f"{benchmark} {part['split'].iat[0]}: {DIRECTIONS[direction]}"
            axes[place].set(title=title, xlabel="K", ylabel="recall at K (%)")
        style.legend_below(drawing, axes[0])


FIGURES = {
    "ablation": ablation,
    "training": training,
    "elimination": elimination,
    "fusion": fusion,
    "recall_at_k": recall_at_k,
}


def _nothing(path: Path, why: str) -> None:
    with style.figure(path, 9, 0.8) as drawing:
        _empty(drawing.subplots(), why)


def _empty(axes: Axes, why: str) -> None:
    axes.text(0.5, 0.5, why, transform=axes.transAxes, ha="center", color=style.FAINT)
    axes.set(xticks=[], yticks=[])


def _curve(axes: Axes, rows: pd.DataFrame, x: str, y: str, index: int, label: str, faint: bool = False) -> None:
    """One series: the mean of rows that share x, their range shaded."""
    grouped = rows.groupby(x)[y].agg(["mean", "min", "max"])
    look = style.line_style(index) | ({"alpha": 0.5} if faint else {})
    axes.plot(grouped.index, grouped["mean"], label=label, **look)
    if not faint:
        axes.fill_between(grouped.index, grouped["min"], grouped["max"], color=look["color"], alpha=0.15, linewidth=0)


def _epoch_axis(axes: Axes, table: pd.DataFrame) -> None:
    axes.set(xlabel="epoch", xlim=(table["epoch"].min() - 0.5, table["epoch"].max() + 0.5))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _variant_axis(axes: Axes, variants: np.ndarray) -> None:
    axes.set_yticks(range(len(variants)), variants)
    axes.set_ylim(len(variants) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0, labelcolor=style.INK)
    axes.grid(axis="y", visible=False)
