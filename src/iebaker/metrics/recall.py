"""Recall at K: the expectation over random order among tied items, in closed form (method: Evaluation).

Score matrices are texts x images throughout, in both directions; they may be memory-mapped and are read
in blocks of rows. Comparisons are exact: half precision widens to single without loss.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array

from iebaker.errors import IebakerError

RANKS = (1, 5, 10)
BLOCK_BYTES = 2 * 2**20  # of doubles: what is computed on a block then stays in a processor's cache
DIGITS = 4  # a query of NWPU-Captions weighs 0.006 percent, ties a fraction of it


class Hits(NamedTuple):
    """Expected hits of every query at each K of RANKS, values in [0, 1]."""

    image_to_text: np.ndarray  # (N_image, K)
    text_to_image: np.ndarray  # (N_text, K)


def row_blocks(matrix: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Contiguous blocks of rows, in single precision or better."""
    rows = max(1, BLOCK_BYTES // max(1, matrix.shape[1] * 8))
    for start in range(0, matrix.shape[0], rows):
        where = slice(start, min(start + rows, matrix.shape[0]))
        block = np.ascontiguousarray(matrix[where])
        yield where, block.astype(np.promote_types(block.dtype, np.float32), copy=False)


def require_numbers(scores: np.ndarray, finite: bool = False) -> None:
    """Refuse a (N_text, N_image) matrix that cannot be ranked.

    Args:
        finite: refuse infinite scores too.

    Raises:
        IebakerError: naming row and column of the first offender.
    """
    for where, block in row_blocks(scores):
        # extremes show NaN and infinities, without another array
        if np.isnan(block.max(initial=0)) or (finite and np.isinf([block.max(initial=0), block.min(initial=0)]).any()):
            bad = ~np.isfinite(block) if finite else np.isnan(block)
            row, column = np.argwhere(bad)[0]
            raise IebakerError(
                f"scores: row {where.start + row} (text), column {column} (image) is {block[row, column]}, "
                "which cannot be ranked; look for empty captions or a diverged model"
            )


def caption_ids(captions: Sequence[str]) -> np.ndarray:
    """(N_text,) integers, equal exactly where the caption strings are."""
    first_seen: dict[str, int] = {}
    return np.array([first_seen.setdefault(caption, len(first_seen)) for caption in captions], dtype=np.int64)


def relevance(image_of_text: np.ndarray, captions: Sequence[str] | None = None) -> csr_array:
    """Which image is a hit for which text, and the other way round.

    Args:
        image_of_text: (N_text,) column of each text's own image; every image 0..max has a text.
        captions: N_text strings. With them relevance is lenient: an image is relevant to every text
            that is identical to one of its own; without them only to its own.

    Returns:
        boolean (N_text, N_image).

    Raises:
        IebakerError: if an image has no text, or the number of captions differs from that of texts.
    """
    owner = np.asarray(image_of_text)
    images = int(owner.max()) + 1
    without = np.flatnonzero(np.bincount(owner, minlength=images) == 0)
    if without.size:
        raise IebakerError(f"image {without[0]} has no text, so image-to-text recall is undefined; leave the image out")
    if captions is None:
        return csr_array((np.ones(len(owner), bool), (np.arange(len(owner)), owner)), shape=(len(owner), images))
    if len(captions) != len(owner):
        raise IebakerError(
            f"{len(captions)} captions for {len(owner)} texts; give one a text, in the order of the rows"
        )
    identity = caption_ids(captions)
    pairs = np.unique(np.stack([identity, owner], axis=1), axis=0)
    carried_by = csr_array((np.ones(len(pairs), bool), (pairs[:, 0], pairs[:, 1])), shape=(identity.max() + 1, images))
    return carried_by[identity]


def expected_hits(ahead: np.ndarray, tied: np.ndarray, relevant: np.ndarray, ranks: Sequence[int]) -> np.ndarray:
    """Chance that a relevant item is in the top K when tied items are in random order.

    Args:
        ahead: (N,) items that score higher than the best relevant item.
        tied: (N,) items that score the same as it, itself included.
        relevant: (N,) relevant ones among the tied.

    Returns:
        (N, len(ranks)): 1 - C(tied - relevant, k) / C(tied, k), k the places left to the tied group.
    """
    drawn = np.arange(max(ranks))
    chance = np.clip((tied - relevant)[:, None] - drawn, 0, None) / np.maximum(tied[:, None] - drawn, 1)
    # column k: the chance that k draws all miss
    miss = np.cumprod(np.concatenate([np.ones((len(ahead), 1)), chance], axis=1), axis=1)
    places = np.clip(np.asarray(ranks) - ahead[:, None], 0, tied[:, None])
    return 1 - np.take_along_axis(miss, places, axis=1)


def text_to_image_hits(scores: np.ndarray, relevant: csr_array, ranks: Sequence[int] = RANKS) -> np.ndarray:
    """(N_text, len(ranks)) expected hits of each text among all images; `relevant` from `relevance`.

    Raises:
        IebakerError: if shapes differ or a score is NaN.
    """
    _check(scores, relevant)
    values = _relevant_scores(scores, relevant)
    best = np.maximum.reduceat(values, relevant.indptr[:-1])
    best_of_entry = best[_row_of_entry(relevant)]
    among_tied = np.add.reduceat(values == best_of_entry, relevant.indptr[:-1], dtype=np.int64)
    ahead, tied = np.empty(len(best), np.int64), np.empty(len(best), np.int64)
    for where, block in row_blocks(scores):
        ahead[where] = np.count_nonzero(block > best[where, None], axis=1)
        tied[where] = np.count_nonzero(block == best[where, None], axis=1)
    return expected_hits(ahead, tied, among_tied, ranks)


def image_to_text_hits(scores: np.ndarray, relevant: csr_array, ranks: Sequence[int] = RANKS) -> np.ndarray:
    """(N_image, len(ranks)) expected hits of each image among all texts: any relevant text counts.

    Raises:
        IebakerError: if shapes differ or a score is NaN.
    """
    _check(scores, relevant)
    images = scores.shape[1]
    values = _relevant_scores(scores, relevant)
    best = np.full(images, values.min())
    np.maximum.at(best, relevant.indices, values)
    among_tied = np.bincount(relevant.indices[values == best[relevant.indices]], minlength=images)
    ahead, tied = np.zeros(images, np.int64), np.zeros(images, np.int64)
    for _, block in row_blocks(scores):
        ahead += np.count_nonzero(block > best, axis=0)
        tied += np.count_nonzero(block == best, axis=0)
    return expected_hits(ahead, tied, among_tied, ranks)


def hits(image_to_text: np.ndarray, text_to_image: np.ndarray, relevant: csr_array) -> Hits:
    """Expected hits of both directions; each direction may have a matrix of its own (SAR), texts x images both."""
    return Hits(image_to_text_hits(image_to_text, relevant), text_to_image_hits(text_to_image, relevant))


def recalls(measured: Hits) -> dict[str, float]:
    """`i2t_R@1` ... `t2i_R@10` and their mean `mR`, in percent."""
    values = {}
    for direction, queries in (("i2t", measured.image_to_text), ("t2i", measured.text_to_image)):
        for rank, share in zip(RANKS, queries.mean(axis=0), strict=True):
            values[f"{direction}_R@{rank}"] = 100 * float(share)
    return {"mR": float(np.mean(list(values.values()))), **values}


def rounded(values: Mapping[str, float | None]) -> dict[str, float | None]:
    """Plain floats with DIGITS decimals, so that differences below a query's weight don't show up as changes."""
    return {key: None if value is None else round(float(value), DIGITS) for key, value in values.items()}


def _relevant_scores(scores: np.ndarray, relevant: csr_array) -> np.ndarray:
    """Scores of the entries of `relevant`, in its order."""
    values: np.ndarray = scores[_row_of_entry(relevant), relevant.indices]
    return values.astype(np.promote_types(values.dtype, np.float32), copy=False)


def _row_of_entry(part: csr_array) -> np.ndarray:
    return np.repeat(np.arange(part.shape[0]), np.diff(part.indptr))


def _check(scores: np.ndarray, relevant: csr_array) -> None:
    if scores.shape != relevant.shape:
        hint = "; it looks transposed: rows are texts, columns images" if scores.shape == relevant.shape[::-1] else ""
        raise IebakerError(f"scores have shape {scores.shape}, expected (texts, images) = {relevant.shape}{hint}")
    require_numbers(scores)
