"""A contact sheet of the benchmark. Classes take turns, so neighbours on it are of different classes."""

import textwrap
from pathlib import Path

from matplotlib.figure import Figure

from iebaker.config.params import SyntheticParams
from iebaker.scenes.captions import describe
from iebaker.scenes.generate import SPLITS, draw, stream


def contact_sheet(path: Path, params: SyntheticParams, columns: int = 6, rows: int = 4) -> None:
    """Draws the first `rows` x `columns` test images, each with its longest caption, into the file `path`."""
    figure = Figure(figsize=(columns * 2.1, rows * 2.9), facecolor="white")
    axes = figure.subplots(rows, columns)
    for index, panel in enumerate(axes.flat):
        scene, facts, pixels = draw(params.seed, "test", index, params.image_size)
        captions = describe(scene, facts, stream(params.seed, "captions", SPLITS.index("test"), index))
        panel.imshow(pixels, interpolation="bicubic")
        panel.set_title(scene, fontsize=9)
        longest = max((caption.text for caption in captions), key=len)
        panel.set_xlabel(textwrap.fill(longest, 34), fontsize=6.5)
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_visible(False)
    # room for captions of four lines
    figure.subplots_adjust(left=0.01, right=0.99, top=0.97, bottom=0.06, wspace=0.06, hspace=0.42)
    figure.savefig(path, dpi=110, metadata={"Software": None})
