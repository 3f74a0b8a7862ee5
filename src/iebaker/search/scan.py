"""Exact search: every row against the query, block by block."""

import numpy as np

BLOCK = 1 << 16  # rows at a time


def top_rows(
    vectors: np.ndarray, query: np.ndarray, count: int, allowed: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """The `count` rows with the largest inner product, best first, ties by row; and those products.

    Args:
        vectors: (N, d) float32, memory-mapped or not.
        query: (d,) float32.
        allowed: (M,) ascending rows to look at; None for all.
    """
    scores = np.empty(len(vectors) if allowed is None else len(allowed), np.float32)
    for start in range(0, len(scores), BLOCK):
        part = slice(start, start + BLOCK)
        scores[part] = (vectors[part] if allowed is None else vectors[allowed[part]]) @ query
    best = np.arange(len(scores))
    if count < len(scores):
        # all that tie with the last one stay in, so that the order of ties is the rows'
        threshold = np.partition(scores, len(scores) - count)[len(scores) - count]
        best = np.flatnonzero(scores >= threshold)
    best = best[np.lexsort((best, -scores[best]))][:count]
    return (best if allowed is None else allowed[best]), scores[best]
