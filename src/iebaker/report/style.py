"""How every figure looks: colour-blind safe, told apart without colour too, and the same bytes on every run."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Okabe and Ito's palette, ordered so that neighbours differ in lightness too
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (8, 2)))
HATCHES = ("", "////", "\\\\\\\\", "xx", "--", "||", "++", "//")  # dots would be a thousand curves each
INK, FAINT = "#222222", "#666666"

RC: dict[str, Any] = {
    "svg.hashsalt": "iebaker",  # element ids would be random
    "svg.fonttype": "path",  # looks the same where DejaVu Sans is not installed
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.7,
    "hatch.color": "#FFFFFF",
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.5,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


@contextmanager
def figure(path: Path, width: float, height: float) -> Iterator[Figure]:
    """A figure in the house style, `width` x `height` inches, written to `path` as SVG when the block ends."""
    settings: dict[Any, Any] = {**mpl.rcParamsDefault, **RC}
    with mpl.rc_context(settings):
        drawing = Figure(figsize=(width, height), layout="constrained")
        yield drawing
        # a date or the version of matplotlib would change the file without changing the picture
        drawing.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def panels(drawing: Figure, rows: int, columns: int, **options: Any) -> list[Axes]:
    """`rows` x `columns` axes, row by row."""
    return list(drawing.subplots(rows, columns, squeeze=False, **options).flat)


def line_style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of the `index`-th series: any one of them tells it from the others."""
    place = index % len(COLOURS)
    return {"color": COLOURS[place], "marker": MARKERS[place], "linestyle": DASHES[place]}


def bar_style(index: int) -> dict[str, Any]:
    """Colour and hatch of the `index`-th kind of bar."""
    place = index % len(COLOURS)
    return {"color": COLOURS[place], "hatch": HATCHES[place]}


def after_sar(transductive: Iterable[bool]) -> str:
    """What a legend says of re-ranked numbers, given whether each of them is transductive."""
    flags = list(map(bool, transductive))
    which = "transductive" if all(flags) else "some transductive" if any(flags) else "not transductive"
    return f"after SAR ({which})"


def by_order(names: Iterable[str]) -> dict[str, int]:
    """Index of each distinct name, in order: a series keeps its look in every panel."""
    return {name: index for index, name in enumerate(dict.fromkeys(names))}


def legend_below(drawing: Figure, axes: Axes, columns: int = 4) -> None:
    """One legend for all panels, under them, from what `axes` shows."""
    handles, labels = axes.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))
