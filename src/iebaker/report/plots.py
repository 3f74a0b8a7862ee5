"""Figures of single stages that need nothing but their own table."""

from pathlib import Path

import pandas as pd

from iebaker.report import style

SHOWN_KEYWORDS = 60
KEYWORD_COLUMNS = 3


def keyword_counts(mined: pd.DataFrame, title: str, path: Path) -> None:
    """Horizontal bars of the most frequent keywords.

    Args:
        mined: columns keyword and count, as `keywords.mining.mine` gives them.
        title: what they were mined from.
        path: SVG to write.
    """
    top = mined.sort_values(["count", "keyword"], ascending=[False, True]).head(SHOWN_KEYWORDS)
    rows = max(-(-len(top) // KEYWORD_COLUMNS), 3)  # fewer leave no room for the titles
    with style.figure(path, 9, 0.7 + 0.19 * rows) as drawing:
        for column, axes in enumerate(style.panels(drawing, 1, KEYWORD_COLUMNS, sharex=True)):
            part = top.iloc[column * rows : (column + 1) * rows]
            axes.barh(range(len(part)), part["count"], height=0.75, **style.bar_style(0))
            axes.set_yticks(range(len(part)), part["keyword"])
            axes.set_ylim(rows - 0.4, -0.6)
            axes.tick_params(axis="y", length=0, labelcolor=style.INK)
            axes.grid(axis="y", visible=False)
        drawing.supxlabel("occurrences that an image's captions repeat", fontsize=9)
        drawing.suptitle(f"{title}: {len(top)} most frequent of {len(mined)} keywords", fontsize=10, fontweight="bold")
