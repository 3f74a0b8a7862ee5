"""The retrieval protocol of SkyScript (Wang et al., AAAI 2024): identical captions are one query.

Any image that has the caption is a hit for it, and any of its captions for an image. Its numbers are not comparable
with strict ones: on UCM-Captions, where images share most captions, the two differ by some 20 points.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from iebaker.metrics.recall import RANKS, Hits, caption_ids, hits, recalls, rounded
from iebaker.metrics.significance import bootstrap_interval


class Queries(NamedTuple):
    """Merged captions.

    Attributes:
        first: (N_query,) row of each distinct caption's first occurrence.
        relevant: boolean (N_query, N_image), which image has which caption.
    """

    first: np.ndarray
    relevant: csr_array


def merge(captions: list[str], image_of_text: np.ndarray) -> Queries:
    """Merge identical captions.

    Args:
        captions: N_text strings.
        image_of_text: (N_text,) column of each text's own image.
    """
    identity = caption_ids(captions)
    pairs = np.unique(np.stack([identity, image_of_text], axis=1), axis=0)
    shape = (identity.max() + 1, int(np.max(image_of_text)) + 1)
    relevant = csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=shape)
    return Queries(np.unique(identity, return_index=True)[1], relevant)


def measure(scores: np.ndarray, queries: Queries) -> Hits:
    """Expected hits under ties of (N_query, N_image) scores."""
    return hits(scores, scores, queries.relevant)


def summarise(measured: Hits, queries: Queries) -> dict[str, float | None]:
    """The six recalls, the means of each direction, and their mean mR with its 95% interval, all in percent.

    The interval draws images; a query that several images share counts for each of them in equal parts.
    """
    values = recalls(measured)
    for direction in ("i2t", "t2i"):
        values[f"{direction}_mean"] = float(np.mean([values[f"{direction}_R@{rank}"] for rank in RANKS]))
    query, image = queries.relevant.nonzero()
    shares = 1 / np.bincount(query)[query]
    spread = Hits(measured.image_to_text, measured.text_to_image[query])
    low, high = bootstrap_interval([spread], image, weights=shares)
    return rounded({"mR": values.pop("mR"), "mR_low": low, "mR_high": high, **values})
