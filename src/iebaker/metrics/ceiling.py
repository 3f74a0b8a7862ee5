"""The best that any model can reach when captions repeat across images (method: Evaluation, Duplicates)."""

from collections.abc import Sequence

import numpy as np

from iebaker.metrics.recall import RANKS, Hits, caption_ids, expected_hits, recalls


class _Repeats:
    """How often each distinct caption occurs, over all (caption string, image) pairs that occur."""

    def __init__(self, captions: Sequence[str], image_of_text: np.ndarray) -> None:
        self.identity = caption_ids(captions)
        self.owner = np.asarray(image_of_text)
        pairs, self.copies = np.unique(np.stack([self.identity, self.owner], axis=1), axis=0, return_counts=True)
        self.string, self.image = pairs.T  # sorted by string
        self.texts = np.bincount(self.identity)  # per string
        self.images = np.bincount(self.string)  # per string


def caption_ceiling(captions: Sequence[str], image_of_text: np.ndarray) -> dict[str, float]:
    """Highest possible recalls and mR, in percent, of a model that sees only image and caption.

    A text gives its K places to the images that own most copies of its string. An image puts first the own string
    that it shares least: identical texts always tie, so a string with more than K copies is a matter of luck.

    Args:
        captions: N_text strings.
        image_of_text: (N_text,) index of each text's own image.
    """
    repeats = _Repeats(captions, image_of_text)
    order = np.lexsort((-repeats.copies, repeats.string))
    start_of_string = np.concatenate([[0], np.cumsum(repeats.images)[:-1]])
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order)) - start_of_string[repeats.string[order]]
    pair_of_text = _pair_of_text(repeats)
    text_to_image = np.stack([place[pair_of_text] < rank for rank in RANKS], axis=1).astype(float)
    ahead = np.zeros(len(order), np.int64)
    of_pair = expected_hits(ahead, repeats.texts[repeats.string], repeats.copies, RANKS)
    image_to_text = np.zeros((int(repeats.owner.max()) + 1, len(RANKS)))
    np.maximum.at(image_to_text, repeats.image, of_pair)
    return recalls(Hits(image_to_text, text_to_image))


def tied_ceiling(captions: Sequence[str], image_of_text: np.ndarray) -> dict[str, float]:
    """Recalls and mR, in percent, of the model that scores 1 where the image carries the caption's string, else 0.

    It is perfect, but cannot tell apart the images that share a caption: the expected value under ties.
    """
    repeats = _Repeats(captions, image_of_text)
    images_of_text = repeats.images[repeats.identity]
    nobody = np.zeros(len(images_of_text), np.int64)
    text_to_image = expected_hits(nobody, images_of_text, np.ones_like(images_of_text), RANKS)
    own = np.bincount(repeats.owner)
    matching = np.bincount(repeats.image, weights=repeats.texts[repeats.string]).astype(np.int64)
    return recalls(Hits(expected_hits(np.zeros_like(own), matching, own, RANKS), text_to_image))


def _pair_of_text(repeats: _Repeats) -> np.ndarray:
    key = repeats.string * (int(repeats.owner.max()) + 1) + repeats.image
    places: np.ndarray = np.searchsorted(key, repeats.identity * (int(repeats.owner.max()) + 1) + repeats.owner)
    return places
