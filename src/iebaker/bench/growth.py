"""How time and memory of the stages grow with the number of images, five captions each, and the exponents that fit."""

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from iebaker.bench import reranking
from iebaker.bench.measure import Measurement, cpu_seconds, in_child
from iebaker.config.params import BenchmarkParams
from iebaker.metrics.summary import SplitMetrics
from iebaker.report.style import figure, line_style, panels

SIZES = (313, 625, 1250, 2500, 5000, 10000)  # images, each twice as many
LARGEST = 1250  # what minutes allow
CAPTIONS, LENGTH, PATCHES, WIDTH = 5, 16, 49, 64
PIXELS = 256


def rows(largest: int = LARGEST) -> Iterator[Measurement]:
    """One row a stage and size; the matrices of `export` are of `WIDTH` values a token."""
    for images in (size for size in SIZES if size <= largest):
        for stage, work in STAGES.items():
            seconds, peak = in_child(work, images)
            yield Measurement(f"{stage}, {CAPTIONS * images} x {images}", seconds, ours_peak=peak)


def series(found: list[Measurement]) -> dict[str, np.ndarray]:
    """Per stage an array with a row a size: images, seconds, bytes."""
    points: dict[str, list[tuple[float, float, float]]] = {}
    for row in found:
        stage, size = row.name.rsplit(", ", 1)
        points.setdefault(stage, []).append((int(size.split(" x ")[1]), row.ours, row.ours_peak or 0))
    return {stage: np.array(values) for stage, values in points.items()}


def exponents(points: np.ndarray) -> tuple[float, float]:
    """The powers of the number of images that seconds and bytes grow with, over the largest three sizes.

    Of bytes, it is that of what each size adds to the one before, in which a process's libraries have no part; 0 where
    one adds nothing.
    """
    images, seconds, held = points[-3:].T
    added = np.diff(held)
    growing = len(added) == 2 and min(added) > 0
    memory = np.log(added[1] / added[0]) / np.log(images[2] / images[1]) if growing else 0.0
    return float(np.polyfit(np.log(images), np.log(seconds), 1)[0]), float(memory)


def said_of(found: list[Measurement]) -> list[str]:
    """A line a stage: its exponents."""
    fits = [(stage, *exponents(points)) for stage, points in series(found).items()]
    return [f"{stage}: seconds grow with N^{time:.2f}, memory with N^{held:.2f}" for stage, time, held in fits]


def draw(found: list[Measurement], path: Path) -> None:
    """Two panels over the number of images, both axes logarithmic: CPU seconds, and memory."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with figure(path, 8, 3.4) as drawing:
        time, memory = panels(drawing, 1, 2)
        for index, (stage, points) in enumerate(series(found).items()):
            powers = (f"{stage}, N^{power:.1f}" for power in exponents(points))
            time.plot(points[:, 0], points[:, 1], label=next(powers), **line_style(index))
            memory.plot(points[:, 0], points[:, 2] / 1e9, label=next(powers), **line_style(index))
        for axes, title in ((time, "CPU seconds"), (memory, "Memory, GB")):
            axes.set(title=title, xlabel="images N, five captions each", xscale="log", yscale="log")
            axes.legend()


def prepare(images: int) -> float:
    """Decode, hash and store PIXELS x PIXELS JPEG files."""
    from iebaker.datasets.prepare import prepare as run

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw"
        (raw / "images").mkdir(parents=True)
        coarse = Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8))
        coarse.resize((PIXELS, PIXELS)).save(raw / "images" / "first.jpg")
        content = (raw / "images" / "first.jpg").read_bytes()
        (raw / "images" / "first.jpg").unlink()
        names = [f"{index:05}.jpg" for index in range(images)]
        for name in names:
            (raw / "images" / name).write_bytes(content)
        captions = [(name, f"caption {index} of {name}", "train") for name in names for index in range(CAPTIONS)]
        pd.DataFrame(captions, columns=["filename", "title", "split"]).to_csv(raw / "captions.csv", index=False)
        return cpu_seconds(lambda: run(raw, BenchmarkParams(source="x", format="csv"), Path(folder) / "prepared"))


def export(images: int) -> float:
    """Global and local similarities of tokens that are at hand."""
    import torch

    from iebaker.method.similarity import global_similarity, write_local_similarity

    generator = torch.Generator().manual_seed(0)
    text = torch.randn(CAPTIONS * images, LENGTH, WIDTH, generator=generator)
    image = torch.randn(images, PATCHES, WIDTH, generator=generator)

    def run() -> None:
        values = global_similarity(text[:, 0], image[:, 0]).numpy()
        write_local_similarity(values, text.numpy(), image.numpy())

    return cpu_seconds(run)


def evaluate(images: int) -> float:
    """Recalls of one seed, strict and lenient, with their intervals."""
    scores = reranking.draw(images)
    captions = [f"caption {text % (4 * images)}" for text in range(len(scores))]

    def run() -> None:
        split = SplitMetrics(np.arange(len(scores)) // CAPTIONS, captions)
        measured = split.measure("plain", scores, scores)
        split.summary({name: [hits] for name, hits in measured.items()})

    return cpu_seconds(run)


STAGES: dict[str, Callable[[int], float]] = {
    "prepare": prepare,
    "export": export,
    "rerank": reranking.choose,
    "evaluate": evaluate,
}
