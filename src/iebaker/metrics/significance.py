"""Intervals and tests that treat an image with all its captions as the unit (method: Evaluation)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from iebaker.metrics.recall import Hits

RESAMPLES = 10_000
CHUNK = 512  # resamples at a time: memory stays below 20 MB for 3,150 images


class Interval(NamedTuple):
    low: float
    high: float


def image_contributions(hits: Hits, image_of_text: np.ndarray) -> np.ndarray:
    """(N_image,) values in percent whose mean is exactly mR.

    Half of each is the image's mean image-to-text hit, half the mean text-to-image hit of its captions,
    weighted by their number where images differ in it.
    """
    texts = _captions_sum(hits.text_to_image.mean(axis=1), image_of_text)
    images: np.ndarray = hits.image_to_text.mean(axis=1)
    return 50 * (images + texts * len(hits.image_to_text) / len(hits.text_to_image))


def bootstrap_interval(
    hits_of_seeds: Sequence[Hits], image_of_text: np.ndarray, seed: int = 0, weights: np.ndarray | None = None
) -> Interval:
    """95% percentile interval of mR (percent): images, and with several seeds also seeds, drawn with replacement.

    Args:
        hits_of_seeds: one Hits a training seed.
        image_of_text: (N_text,) index of each text's own image.
        seed: of the resampling; the same seed gives the same interval.
        weights: (N_text,) how much each text counts; None: all the same.
    """
    generator = np.random.default_rng(seed)
    weights = np.ones(len(image_of_text)) if weights is None else weights
    trainings, images = len(hits_of_seeds), len(hits_of_seeds[0].image_to_text)
    forward = np.stack([hits.image_to_text.mean(axis=1) for hits in hits_of_seeds], axis=1)
    backward = np.stack(
        [_captions_sum(weights * hits.text_to_image.mean(axis=1), image_of_text) for hits in hits_of_seeds], axis=1
    )
    captions = np.bincount(image_of_text, weights, minlength=images)
    values = np.concatenate([forward, backward, captions[:, None]], axis=1)
    resampled = []
    for start in range(0, RESAMPLES, CHUNK):
        rows = min(CHUNK, RESAMPLES - start)
        sums = _times_drawn(generator, rows, images) @ values
        of_seed = 50 * (sums[:, :trainings] / images + sums[:, trainings:-1] / sums[:, -1:])
        resampled.append(_drawn_mean(generator, of_seed))
    return _interval(resampled)


def permutation_test(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p-value that the mean of paired differences is 0, by random sign flips.

    Args:
        differences: (N_image,) difference in contribution of each image.
    """
    generator = np.random.default_rng(seed)
    observed = abs(differences.sum())
    reached = 0
    for start in range(0, RESAMPLES, CHUNK):
        rows = min(CHUNK, RESAMPLES - start)
        flips = generator.integers(2, size=(rows, len(differences)), dtype=np.int8)
        sums = differences.sum() - 2 * (flips @ differences)
        # sums that differ only by rounding are equal
        reached += int(np.count_nonzero(np.abs(sums) >= observed - 1e-9 * np.abs(differences).sum()))
    return (1 + reached) / (1 + RESAMPLES)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction for the number of comparisons."""
    order = np.argsort(p_values, kind="stable")
    stepped = np.asarray(p_values)[order] * np.arange(len(order), 0, -1)
    corrected = np.empty(len(order))
    corrected[order] = np.minimum(np.maximum.accumulate(stepped), 1.0)
    return corrected.tolist()


def compare(
    baseline: Sequence[Hits], variants: Mapping[str, Sequence[Hits]], image_of_text: np.ndarray, seed: int = 0
) -> dict[str, dict[str, float]]:
    """Each variant against the baseline on the same images, training by training.

    Args:
        baseline, variants: one Hits a training seed, the same seeds in the same order.

    Returns:
        per variant: `difference` in mR (percentage points), its 95% `low` and `high` with images, and with several
        seeds also seeds, drawn with replacement; `p` of the paired permutation test over images, hits averaged over
        seeds first, which says nothing of other trainings; `p_holm`, corrected for the number of variants.
    """
    reference = np.stack([image_contributions(hits, image_of_text) for hits in baseline], axis=1)
    results = {}
    for name, hits_of_seeds in variants.items():
        own = np.stack([image_contributions(hits, image_of_text) for hits in hits_of_seeds], axis=1)
        low, high = _interval_of_mean(own - reference, seed)
        of_image = (own - reference).mean(axis=1)
        p = permutation_test(of_image, seed)
        results[name] = {"difference": float(of_image.mean()), "low": low, "high": high, "p": p}
    for name, corrected in zip(results, holm([result["p"] for result in results.values()]), strict=True):
        results[name]["p_holm"] = corrected
    return results


def _interval_of_mean(values: np.ndarray, seed: int) -> Interval:
    """95% interval of the mean of (N_image, N_seed) values, both drawn with replacement."""
    generator = np.random.default_rng(seed)
    resampled = []
    for start in range(0, RESAMPLES, CHUNK):
        counts = _times_drawn(generator, min(CHUNK, RESAMPLES - start), len(values))
        resampled.append(_drawn_mean(generator, counts @ values / len(values)))
    return _interval(resampled)


def _times_drawn(generator: np.random.Generator, rows: int, images: int) -> np.ndarray:
    """(rows, images) how often each resample holds each image."""
    drawn = generator.integers(images, size=(rows, images)) + np.arange(rows)[:, None] * images
    return np.bincount(drawn.ravel(), minlength=rows * images).reshape(rows, images)


def _drawn_mean(generator: np.random.Generator, of_seed: np.ndarray) -> np.ndarray:
    """(rows,) mean over as many trainings as there are, drawn with replacement from the columns of each row."""
    drawn = generator.integers(of_seed.shape[1], size=of_seed.shape)
    means: np.ndarray = np.take_along_axis(of_seed, drawn, axis=1).mean(axis=1)
    return means


def _interval(resampled: list[np.ndarray]) -> Interval:
    low, high = np.quantile(np.concatenate(resampled), [0.025, 0.975])
    return Interval(float(low), float(high))


def _captions_sum(values: np.ndarray, image_of_text: np.ndarray) -> np.ndarray:
    return np.bincount(image_of_text, weights=values)
