"""`sar.method: auto` on a validation matrix: as it is, and with every member of the family on its own."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml

from iebaker.bench.measure import Measurement, cpu_seconds, in_child, least_seconds
from iebaker.config.params import SarParams
from iebaker.layout import PARAMS
from iebaker.metrics.recall import image_to_text_hits, relevance, text_to_image_hits
from iebaker.retrieval.rerank import apply, select
from iebaker.retrieval.rerank.selection import CRITERION_RANKS, DIRECTIONS, GRID, Choice, standard_deviation

SMALL, NWPU = 400, 3150  # images, with CAPTIONS texts each
CAPTIONS = 5


def rows() -> Iterator[Measurement]:
    """CPU seconds and memory of choosing the re-ranking, at NWPU-Captions' size and at a small one."""
    times, _ = in_child(_side_by_side)
    yield Measurement(f"re-ranking auto, {CAPTIONS * SMALL} x {SMALL}", times["ours"], plain=times["plain"])
    seconds, peak = in_child(choose, NWPU)
    yield Measurement(f"re-ranking auto, NWPU's {CAPTIONS * NWPU} x {NWPU}", seconds, ours_peak=peak)


def draw(images: int) -> np.ndarray:
    """(CAPTIONS x images, images) float32 similarities in which some images are near to every text."""
    generator = np.random.default_rng(0)
    scores = generator.standard_normal((CAPTIONS * images, images), np.float32)
    scores += generator.standard_normal(images, np.float32)
    scores *= 0.1
    rows = np.arange(len(scores))
    scores[rows, rows // CAPTIONS] += 0.35
    return scores


def choose(images: int) -> float:
    """CPU seconds of `auto`, without a bank of training queries."""
    scores, params = draw(images), SarParams.model_validate(yaml.safe_load(Path(PARAMS).read_text())["sar"])
    return cpu_seconds(lambda: select(scores, np.arange(len(scores)) // CAPTIONS, params))


def _side_by_side() -> dict[str, float]:
    scores, params = draw(SMALL), SarParams.model_validate(yaml.safe_load(Path(PARAMS).read_text())["sar"])
    image_of_text = np.arange(len(scores)) // CAPTIONS

    def plain() -> None:
        relevant, deviation = relevance(image_of_text), standard_deviation(scores)
        for direction in DIRECTIONS:
            measure = text_to_image_hits if direction == "text_to_image" else image_to_text_hits
            for method, grid in GRID.items():
                for parameters in grid if method != "querybank" else ():
                    moved = apply(Choice(method, deviation, parameters), scores, direction)
                    measure(moved, relevant, CRITERION_RANKS)

    return least_seconds(3, ours=lambda: select(scores, image_of_text, params), plain=plain)
