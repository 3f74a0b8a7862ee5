"""Reversed retrieval for one query (method: SAR): its rank among training captions, seen from an image.

SAR ranks a query among all test queries, and a search has one. So each image keeps, when it is indexed, a profile of
its similarities to a bank of training captions; the rank of any query in that bank is then a binary search. It looks
at no other query, so it is not transductive.
"""

import numpy as np

from iebaker.retrieval.rerank.selection import BankScores, Choice, apply

METHODS = ("none", "sort", "weighted", "querybank")  # those whose other queries a bank can stand for
PROFILE = 64  # similarities kept for an image
EXACT = 32  # of which the largest ones one by one; the others at ranks in geometric progression, to the last


def profile_ranks(bank_size: int) -> np.ndarray:
    """(m,) 1-based ranks whose similarities are kept: 1 ... 32, then ever wider steps to `bank_size`."""
    if bank_size <= PROFILE:
        return np.arange(1, bank_size + 1)
    tail = np.geomspace(EXACT, bank_size, PROFILE - EXACT + 1)[1:]
    return np.unique(np.concatenate([np.arange(1, EXACT + 1), np.round(tail).astype(int)]))


def profile(vectors: np.ndarray, bank: np.ndarray, block: int = 32) -> np.ndarray:
    """Each image's similarities to the bank at `profile_ranks`, descending: (N, m) float16.

    Args:
        vectors: (N, d), normalised.
        bank: (B, d) float32, normalised.
        block: images at a time; every product has this many, so that no value depends on the neighbours.
    """
    ranks = profile_ranks(len(bank)) - 1
    out = np.empty((len(vectors), len(ranks)), np.float16)
    for start in range(0, len(vectors), block):
        part = vectors[start : start + block].astype(np.float32)
        filled = np.concatenate([part, np.zeros((block - len(part), part.shape[1]), np.float32)])
        similarities = np.sort(filled @ bank.T, axis=1)[:, ::-1]
        out[start : start + block] = similarities[: len(part), ranks]
    return out


def reverse_rank(scores: np.ndarray, profiles: np.ndarray, bank_size: int) -> np.ndarray:
    """1 + how many captions of the bank each image prefers to the query: (N,) float64.

    Between two kept ranks it is interpolated, so it is exact up to rank 32 and approximate beyond.

    Args:
        scores: (N,) similarities of the query and each image.
        profiles: (N, m) of `profile`, for the same images.
        bank_size: captions in the bank.
    """
    ranks = profile_ranks(bank_size)
    ascending = profiles[:, ::-1].astype(np.float64)
    out = np.empty(len(scores))
    for row, (score, values) in enumerate(zip(scores.astype(np.float64), ascending, strict=True)):
        above = len(values) - int(np.searchsorted(values, score, side="right"))  # kept similarities above the score
        if above == 0:
            out[row] = 1
        elif above == len(values):
            out[row] = bank_size + 1
        else:
            high, low = values[len(values) - above], values[len(values) - above - 1]
            share = (high - score) / (high - low)
            out[row] = ranks[above - 1] + 1 + share * (ranks[above] - ranks[above - 1] - 1)
    return out


def confidence(rank: np.ndarray, bank_size: int) -> np.ndarray:
    """Percentage of the bank's captions that fit each image less than the query does: comparable across queries."""
    return 100 * (1 - (rank - 1) / bank_size)


def resort(choice: Choice, similarity: np.ndarray, bank: np.ndarray) -> np.ndarray:
    """One query's items re-ranked by a member of the SAR family, the bank standing for the other queries.

    Args:
        choice: member and hyper-parameters.
        similarity: (K,) of the query and its candidates.
        bank: (B, K) of the bank's captions and the same candidates.

    Returns:
        (K,) values whose order is the new one.
    """
    if choice.method == "querybank":
        resorted = apply(choice, similarity[None], "text_to_image", BankScores(text_to_image=bank))
    else:
        resorted = apply(choice, np.concatenate([similarity[None], bank]), "text_to_image")
    return np.asarray(resorted[0])
