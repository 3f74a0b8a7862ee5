"""The metrics of one benchmark's split, in the schema of reports/metrics (method: Evaluation)."""

from collections.abc import Mapping, Sequence

import numpy as np

from iebaker.metrics.ceiling import caption_ceiling, tied_ceiling
from iebaker.metrics.recall import Hits, hits, recalls, relevance, rounded
from iebaker.metrics.significance import bootstrap_interval


def summarise(hits_of_seeds: Sequence[Hits], image_of_text: np.ndarray) -> dict[str, float | None]:
    """Means over seeds of mR and the six recalls, all in percent.

    `mR_std` is the standard deviation over seeds (n - 1), None for one seed; `mR_low` and `mR_high` are the
    95% interval over images and seeds.
    """
    per_seed = [recalls(measured) for measured in hits_of_seeds]
    mean = {key: float(np.mean([values[key] for values in per_seed])) for key in per_seed[0]}
    deviation = float(np.std([values["mR"] for values in per_seed], ddof=1)) if len(per_seed) > 1 else None
    low, high = bootstrap_interval(hits_of_seeds, image_of_text)
    return rounded({"mR": mean.pop("mR"), "mR_std": deviation, "mR_low": low, "mR_high": high, **mean})


class SplitMetrics:
    """One evaluation split: what counts as a hit, strictly and leniently, computed once for all seeds and matrices.

    Args:
        image_of_text: (N_text,) column of each text's own image.
        captions: N_text strings; without them lenient numbers and ceilings are left out.
    """

    def __init__(self, image_of_text: np.ndarray, captions: Sequence[str] | None = None) -> None:
        self.image_of_text = np.asarray(image_of_text)
        self.captions = captions
        self.relevant = {"": relevance(self.image_of_text)}
        if captions is not None:
            self.relevant["_lenient"] = relevance(self.image_of_text, captions)

    def measure(self, name: str, image_to_text: np.ndarray, text_to_image: np.ndarray) -> dict[str, Hits]:
        """Hits of one seed's matrices (texts x images, one a direction) under `name` and `<name>_lenient`."""
        return {
            name + suffix: hits(image_to_text, text_to_image, relevant) for suffix, relevant in self.relevant.items()
        }

    def summary(self, hits_of_seeds: Mapping[str, Sequence[Hits]]) -> dict[str, dict[str, float | None]]:
        """`{"plain": {...}, "plain_lenient": {...}, ..., "ceiling": {...}, "ceiling_tied": {...}}`.

        Args:
            hits_of_seeds: per name as `measure` gives it, one Hits a seed.
        """
        result = {name: summarise(measured, self.image_of_text) for name, measured in hits_of_seeds.items()}
        if self.captions is not None:
            result["ceiling"] = rounded(caption_ceiling(self.captions, self.image_of_text))
            result["ceiling_tied"] = rounded(tied_ceiling(self.captions, self.image_of_text))
        return result
