"""The members of the SAR family (method: SAR).

Every member turns a texts x images matrix into another one, for one direction: within a query (a row of
text-to-image, a column of image-to-text) only the order of its values means something. None looks at the ground
truth. Ranks are shared by ties, so identical captions keep identical results, and items can come in any order.

`memory` keeps what calls for several hyper-parameters share.
"""

from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, Literal

import numpy as np

from iebaker.errors import IebakerError
from iebaker.metrics.recall import row_blocks

Direction = Literal["image_to_text", "text_to_image"]
MOST_TIED = 256  # beyond K; an image's captions tie with a few dozen copies at most, a clipped matrix with everything


class Memory:
    """What several hyper-parameters have in common, for one matrix and one bank; threads may share it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: dict[Hashable, Future[Any]] = {}

    def of(self, key: Hashable, compute: Callable[[], Any]) -> Any:
        """What `compute` returned for this key, which one thread calls and the others wait for."""
        with self._lock:
            mine = key not in self._kept
            kept = self._kept.setdefault(key, Future())
        if mine:
            try:
                kept.set_result(compute())
            except BaseException as error:  # noqa: BLE001  # whoever waits gets it
                kept.set_exception(error)
        return kept.result()


def none(scores: np.ndarray, direction: Direction, memory: Memory | None = None) -> np.ndarray:
    """The forward scores."""
    return scores


def sort(scores: np.ndarray, direction: Direction, candidates: int, memory: Memory | None = None) -> np.ndarray:
    """Order the top `candidates` by the rank of the query when they retrieve back, ties by forward position.

    Args:
        scores: (N_text, N_image).
        candidates: K; items that tie with the K-th are candidates too, unless they are more than MOST_TIED.

    Returns:
        (N_text, N_image): candidates 1 and above, the others below 0 in forward order.
    """
    queries = _queries_first(scores, direction)
    top = _kept(memory, ("top", direction, candidates), lambda: _Candidates(queries, candidates))
    return _queries_first(top.fill(queries, queries.shape[1] + 1.0 - top.reverse_position), direction)


def weighted(
    scores: np.ndarray,
    direction: Direction,
    candidates: int,
    weight_forward: float,
    weight_reverse: float,
    decay: float,
    memory: Memory | None = None,
) -> np.ndarray:
    """GaLR's multivariate rerank: W1 S(i,c) / sum_i' S(i',c) + exp(-xi j) + W2 exp(-xi r) on the top `candidates`.

    Args:
        scores: (N_text, N_image); shifted by its minimum if an entry is not positive.
        candidates: K; items that tie with the K-th are candidates too, unless they are more than MOST_TIED.
        weight_forward: W1.
        weight_reverse: W2.
        decay: xi, per position.

    Returns:
        (N_text, N_image): candidates 0 and above, the others below 0 in forward order.
    """
    queries = _queries_first(scores, direction)
    top = _kept(memory, ("top", direction, candidates), lambda: _Candidates(queries, candidates))
    shift, total = _kept(memory, ("shares", direction), lambda: _shares(queries))
    value = top.value - shift
    # an item that nobody scores above the minimum has no share to give
    share = np.divide(value, total[top.item], out=np.zeros_like(value), where=value > 0)
    forward = np.exp(-decay * top.forward_position)
    reverse = np.exp(-decay * top.reverse_position)
    return _queries_first(top.fill(queries, weight_forward * share + forward + weight_reverse * reverse), direction)


def soft(
    scores: np.ndarray, direction: Direction, strength: float, beta: float, memory: Memory | None = None
) -> np.ndarray:
    """S(i,c) + lambda log softmax_i'(beta S(i',c)): reversed retrieval as a probability.

    Args:
        scores: (N_text, N_image).
        strength: lambda, in units of the scores; infinite for the probability alone.
        beta: inverse temperature, per unit of the scores.
    """
    axis = 0 if direction == "text_to_image" else 1
    total = _kept(memory, ("soft", axis, beta), lambda: _log_sum_exp(scores, beta, axis))
    return _add_log_probability(scores, total, direction, strength, beta)


def querybank(
    scores: np.ndarray,
    direction: Direction,
    strength: float,
    beta: float,
    bank: np.ndarray,
    memory: Memory | None = None,
) -> np.ndarray:
    """As `soft`, the softmax taken over a bank of training queries (QB-Norm): test queries don't see each other.

    Args:
        bank: training texts x evaluation images for text-to-image, evaluation texts x training images otherwise.

    Raises:
        IebakerError: if the bank does not belong to these scores.
    """
    axis = 0 if direction == "text_to_image" else 1
    if bank.shape[1 - axis] != scores.shape[1 - axis]:
        side = ("texts", "images")[1 - axis]
        raise IebakerError(
            f"{direction} bank has {bank.shape[1 - axis]} {side}, the scores {scores.shape[1 - axis]}; "
            "it must be training texts x evaluation images, or evaluation texts x training images"
        )
    total = _kept(memory, ("querybank", axis, beta), lambda: _log_sum_exp(bank, beta, axis))
    return _add_log_probability(scores, total, direction, strength, beta)


def sinkhorn(
    scores: np.ndarray, direction: Direction, beta: float, iterations: int, memory: Memory | None = None
) -> np.ndarray:
    """Logarithm of the entropic optimal transport plan: every text and every image gets the same mass.

    The plan is the same in both directions.

    Args:
        scores: (N_text, N_image).
        beta: inverse temperature, per unit of the scores.
        iterations: rounds of balancing texts, then images.
    """
    potential = _kept(memory, ("sinkhorn", beta, iterations), lambda: _potential(scores, beta, iterations))
    plan = _empty_like(scores)
    for where, block in row_blocks(scores):
        logits = beta * block.astype(np.float64) + potential
        plan[where] = logits - _row_log_sum_exp(logits)[:, None]
    return plan


def _potential(scores: np.ndarray, beta: float, iterations: int) -> np.ndarray:
    """(N_image,) logarithms that balance the images of `sinkhorn`."""
    images = scores.shape[1]
    potential = np.zeros(images)
    smallest = np.finfo(np.float32).tiny
    for _ in range(iterations):
        mass = np.zeros(images)
        for _, block in row_blocks(scores):
            share = beta * block
            share += potential.astype(share.dtype)
            share -= share.max(axis=1, keepdims=True)
            np.exp(share, out=share)
            share /= share.sum(axis=1, keepdims=True)
            mass += share.sum(axis=0, dtype=np.float64)
        potential -= np.log(np.maximum(mass * images / len(scores), smallest))
    return potential


def _shares(queries: np.ndarray) -> tuple[float, np.ndarray]:
    """The lowest score, or 0 if all are positive, and what every item's scores add up to above it."""
    lowest = min(float(block.min()) for _, block in row_blocks(queries))
    shift = lowest if lowest <= 0 else 0.0
    total = sum(block.sum(axis=0, dtype=np.float64) for _, block in row_blocks(queries)) - shift * len(queries)
    return shift, total


class _Candidates:
    """Top items of every query, flat: entry n says that `item[n]` is a candidate of `query[n]`.

    Args:
        queries: (N_query, N_item) scores.
        number: K; items that tie with the K-th are all in, or all out where they are more than MOST_TIED, so the
            choice does not depend on the order of items.
    """

    def __init__(self, queries: np.ndarray, number: int) -> None:
        self.threshold = np.empty(len(queries))
        position = queries.shape[1] - min(number, queries.shape[1])
        found = []
        for where, block in row_blocks(queries):
            threshold = np.partition(block, position, axis=1)[:, position]
            chosen = block >= threshold[:, None]
            crowded = np.flatnonzero(chosen.sum(axis=1) > number + MOST_TIED)
            chosen[crowded] = block[crowded] > threshold[crowded, None]
            lowest = np.where(chosen[crowded], block[crowded], np.inf).min(axis=1)
            threshold[crowded] = np.where(chosen[crowded].any(axis=1), lowest, threshold[crowded])
            row, item = np.nonzero(chosen)
            self.threshold[where] = threshold
            found.append((row + where.start, item, block[row, item].astype(np.float64)))
        self.query, self.item, self.value = (np.concatenate(parts) for parts in zip(*found, strict=True))
        self.forward_position = _shared_rank(self.query, -self.value)
        self.reverse_position = _shared_rank(self.query, self._reverse_rank(queries), self.forward_position)

    def _reverse_rank(self, queries: np.ndarray) -> np.ndarray:
        """rho: 1 + number of queries that the item scores higher than this one."""
        rank = np.empty(len(self.item), np.int64)
        by_item = np.argsort(self.item, kind="stable")
        bounds = np.searchsorted(self.item[by_item], np.arange(queries.shape[1] + 1))
        for where, block in row_blocks(queries.T):
            for item, ascending in enumerate(np.sort(block, axis=1), start=where.start):
                entries = by_item[bounds[item] : bounds[item + 1]]
                value = self.value[entries].astype(ascending.dtype)
                rank[entries] = 1 + len(ascending) - np.searchsorted(ascending, value, side="right")
        return rank

    def fill(self, queries: np.ndarray, values: np.ndarray) -> np.ndarray:
        """(N_query, N_item): `values` at the candidates, elsewhere the negative distance to the last candidate."""
        filled = _empty_like(queries)
        for where, block in row_blocks(queries):
            filled[where] = block - self.threshold[where, None].astype(block.dtype)
        filled[self.query, self.item] = values
        return filled


def _shared_rank(group: np.ndarray, *keys: np.ndarray) -> np.ndarray:
    """1-based rank within the group, ascending by the first key, then the next; ties share the best rank."""
    order = np.lexsort((*reversed(keys), group))
    place = np.arange(len(order))
    new_group = np.ones(len(order), bool)
    new_group[1:] = np.diff(group[order]) != 0
    new_value = new_group.copy()
    for key in keys:
        new_value[1:] |= np.diff(key[order]) != 0
    start_of_group = np.maximum.accumulate(np.where(new_group, place, 0))
    start_of_value = np.maximum.accumulate(np.where(new_value, place, 0))
    rank = np.empty(len(order), np.int64)
    rank[order] = start_of_value - start_of_group + 1
    return rank


def _queries_first(scores: np.ndarray, direction: Direction) -> np.ndarray:
    """Queries x items, a view; its own inverse."""
    return scores if direction == "text_to_image" else scores.T


def _empty_like(scores: np.ndarray) -> np.ndarray:
    return np.empty(scores.shape, np.promote_types(scores.dtype, np.float32))


def _kept(memory: Memory | None, key: Hashable, compute: Callable[[], Any]) -> Any:
    return compute() if memory is None else memory.of(key, compute)


def _add_log_probability(
    scores: np.ndarray, log_total: np.ndarray, direction: Direction, strength: float, beta: float
) -> np.ndarray:
    total = log_total if direction == "text_to_image" else log_total[:, None]
    result = _empty_like(scores)
    for where, block in row_blocks(scores):
        exact = block.astype(np.float64)
        log_probability = beta * exact
        log_probability -= total if direction == "text_to_image" else total[where]
        if not np.isinf(strength):
            log_probability *= strength
            log_probability += exact
        result[where] = log_probability
    return result


def _log_sum_exp(scores: np.ndarray, beta: float, axis: int) -> np.ndarray:
    """log sum exp(beta S) over texts (axis 0) or images (axis 1), one block of rows at a time."""
    if axis == 1:
        return np.concatenate([_row_log_sum_exp(beta * block.astype(np.float64)) for _, block in row_blocks(scores)])
    largest = np.max([block.max(axis=0) for _, block in row_blocks(scores)], axis=0).astype(np.float64)
    total = sum(np.exp(beta * (block - largest)).sum(axis=0) for _, block in row_blocks(scores))
    logarithm: np.ndarray = beta * largest + np.log(total)
    return logarithm


def _row_log_sum_exp(logits: np.ndarray) -> np.ndarray:
    largest = logits.max(axis=1)
    shifted = logits - largest[:, None]
    logarithm: np.ndarray = largest + np.log(np.exp(shifted, out=shifted).sum(axis=1))
    return logarithm
