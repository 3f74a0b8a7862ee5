"""Which member of the SAR family, with which hyper-parameters: decided on validation, applied anywhere (method: SAR).

Inverse temperatures are per standard deviation of the validation matrix, strengths in such standard deviations;
the deviation travels with the choice, so test is re-ranked with the very numbers that validation saw.
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import numpy as np

from iebaker.config.params import SarParams
from iebaker.errors import IebakerError
from iebaker.metrics.recall import RANKS, image_to_text_hits, relevance, require_numbers, row_blocks, text_to_image_hits
from iebaker.retrieval.rerank import members
from iebaker.retrieval.rerank.members import Direction

DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
HYPER_PARAMETERS = {
    "none": (),
    "sort": ("candidates",),
    "weighted": ("candidates", "weight_forward", "weight_reverse", "decay"),
    "soft": ("strength", "beta"),
    "querybank": ("strength", "beta"),
    "sinkhorn": ("beta", "iterations"),
}
SEES_NO_TEST_QUERIES = ("none", "querybank")

# The family that `auto` chooses from; fixed on validation matrices, never to be changed after a look at test.
PUBLISHED_WEIGHTS = ((1.0, 0.7), (0.3, 1.1))
PROBABILITY = tuple(
    {"beta": beta, "strength": ratio / beta}  # strength x beta is the share of reversed retrieval in the order
    for beta in (0.5, 1.0, 1.5, 2.0, 3.0, 5.0, 8.0)
    for ratio in (1 / 3, 1.0, 3.0, np.inf)
)
GRID: dict[str, tuple[dict[str, float], ...]] = {
    "none": ({},),
    "sort": tuple({"candidates": number} for number in (5, 10, 20)),
    "weighted": tuple(
        {"candidates": number, "weight_forward": forward, "weight_reverse": reverse, "decay": 0.05}
        for number in (15, 30)
        for forward, reverse in PUBLISHED_WEIGHTS
    ),
    "soft": PROBABILITY,
    "querybank": PROBABILITY,
    "sinkhorn": tuple({"beta": beta, "iterations": 10} for beta in (0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 5.0, 8.0)),
}
# Three values of K are few and noisy: over halves of validation, choosing by the mean of R@1 ... R@20 gained more on
# the other half than choosing by the mean of R@1, R@5 and R@10.
CRITERION_RANKS = tuple(range(1, 21))


# of a validation matrix: inverse temperatures are multiples of its inverse, in single precision
SMALLEST_DEVIATION, LARGEST_DEVIATION = 1e-30, 1e30


class BankScores(NamedTuple):
    """Similarities to training queries, for `querybank`; texts x images both."""

    text_to_image: np.ndarray | None = None  # training texts x evaluation images
    image_to_text: np.ndarray | None = None  # evaluation texts x training images


@dataclass(frozen=True)
class Choice:
    """One member with its hyper-parameters, as `SarParams` names them.

    Args:
        deviation: standard deviation of the validation matrix, the unit of beta (inverse) and strength.
    """

    method: str
    deviation: float
    parameters: Mapping[str, float] = field(default_factory=dict)

    @property
    def transductive(self) -> bool:
        """Whether re-ranking looks at the whole set of evaluation queries."""
        return self.method not in SEES_NO_TEST_QUERIES

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON, which knows no infinity."""
        values = {key: "inf" if np.isinf(value) else value for key, value in self.parameters.items()}
        return {"method": self.method, **values, "deviation": self.deviation, "transductive": self.transductive}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Choice":
        """The inverse of `as_dict`."""
        names = HYPER_PARAMETERS[values["method"]]
        parameters = {name: float("inf") if values[name] == "inf" else values[name] for name in names}
        return cls(values["method"], values["deviation"], parameters)


@dataclass(frozen=True)
class Selection:
    """What validation decided: a choice per direction, and what every member reached."""

    choices: Mapping[Direction, Choice]
    table: list[dict[str, Any]]

    @property
    def transductive(self) -> bool:
        return any(choice.transductive for choice in self.choices.values())

    def as_dict(self) -> dict[str, Any]:
        """Plain data for JSON: `image_to_text`, `text_to_image`, `transductive` and the validation `table`."""
        chosen: dict[str, Any] = {direction: choice.as_dict() for direction, choice in self.choices.items()}
        return {**chosen, "transductive": self.transductive, "table": self.table}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Selection":
        """The inverse of `as_dict`."""
        return cls({name: Choice.from_dict(values[name]) for name in DIRECTIONS}, values["table"])


def apply(choice: Choice, scores: np.ndarray, direction: Direction, bank: BankScores | None = None) -> np.ndarray:
    """Re-rank a (N_text, N_image) matrix for one direction; only the order within a query means something.

    Args:
        scores: (N_text, N_image), memory-mapped or not.
        bank: similarities to training queries, needed by `querybank`.

    Raises:
        IebakerError: if a score is not finite, or the bank is missing or of another shape.
    """
    require_numbers(scores, finite=True)
    if choice.method == "querybank" and bank and getattr(bank, direction) is not None:
        require_numbers(getattr(bank, direction), finite=True)
    return _reranked(choice, scores, direction, bank, None)


def _reranked(
    choice: Choice,
    scores: np.ndarray,
    direction: Direction,
    bank: BankScores | None,
    memory: members.Memory | None,
) -> np.ndarray:
    parameters: dict[str, Any] = dict(choice.parameters)
    if "beta" in parameters:
        parameters["beta"] /= choice.deviation
    if "strength" in parameters:
        parameters["strength"] *= choice.deviation
    if choice.method == "querybank":
        parameters["bank"] = bank and getattr(bank, direction)
        if parameters["bank"] is None:
            raise IebakerError(
                f"querybank: the {direction} bank of training queries is missing; choose another method or give one: "
                "in the pipeline by sar.bank_size above 0 and a new export, to `iebaker rerank` by the --bank-* files"
            )
        require_numbers(parameters["bank"], finite=True)
    reranked: np.ndarray = getattr(members, choice.method)(scores, direction, **parameters, memory=memory)
    return reranked


def select(
    scores: np.ndarray, image_of_text: np.ndarray, params: SarParams, bank: BankScores | None = None
) -> Selection:
    """Choose member and hyper-parameters per direction on a validation matrix.

    `sar.method: auto` takes from GRID the best mean of R@1 ... R@20, if it beats the forward scores by more than one
    standard error over images, else `none`. A fixed method takes its hyper-parameters from `params`.

    Args:
        scores: (N_text, N_image) of validation.
        image_of_text: (N_text,) column of each text's own image.
        bank: similarities of validation to training queries; without it `auto` leaves out `querybank`.

    Raises:
        IebakerError: if the matrix cannot be ranked, or all scores are equal.
    """
    require_numbers(scores, finite=True)
    if scores.dtype == np.float16:
        scores = scores.astype(np.float32)  # once, not for every member
    for values in bank or ():
        if values is not None:
            require_numbers(values, finite=True)
    relevant, memory = relevance(image_of_text), members.Memory()
    deviation = standard_deviation(scores)
    if deviation == 0:
        raise IebakerError("scores: all are equal on validation, so there is nothing to re-rank")
    if not SMALLEST_DEVIATION <= deviation <= LARGEST_DEVIATION:
        raise IebakerError(
            f"scores: their standard deviation on validation is {deviation:.3g}, beyond what single precision can "
            "re-rank; scale them, for example to [-1, 1]"
        )

    def select_for(direction: Direction) -> tuple[Choice, list[dict[str, Any]]]:
        measure = text_to_image_hits if direction == "text_to_image" else image_to_text_hits
        best, of_best = Choice("none", deviation), 0.0
        forward, table = None, []
        for choice in _family(params, deviation, direction, bank):
            found = _reranked(choice, scores, direction, bank, memory)
            hits = measure(found, relevant, CRITERION_RANKS)
            forward = hits if forward is None else forward
            row = {f"R@{rank}": round(100 * float(hits[:, CRITERION_RANKS.index(rank)].mean()), 4) for rank in RANKS}
            criterion = {"criterion": round(100 * float(hits.mean()), 4)}
            table.append({"direction": direction, **choice.as_dict(), **row, **criterion})
            gain, error = _gain(hits, forward, image_of_text, direction)
            if params.method != "auto" or gain > max(of_best, error):
                best, of_best = choice, gain
        return best, table

    with ThreadPoolExecutor(len(DIRECTIONS)) as pool:  # numpy works outside of the interpreter's lock
        selected = dict(zip(DIRECTIONS, pool.map(select_for, DIRECTIONS), strict=True))
    choices = {direction: choice for direction, (choice, _) in selected.items()}
    return Selection(choices, [row for _, table in selected.values() for row in table])


def _family(params: SarParams, deviation: float, direction: Direction, bank: BankScores | None) -> Iterator[Choice]:
    """The forward scores first, then what competes with them."""
    yield Choice("none", deviation)
    grids: Mapping[str, tuple[Mapping[str, float], ...]] = GRID
    if params.method != "auto":
        grids = {params.method: ({name: getattr(params, name) for name in HYPER_PARAMETERS[params.method]},)}
    elif bank is None or getattr(bank, direction) is None:
        grids = {method: grid for method, grid in GRID.items() if method != "querybank"}
    for method, grid in grids.items():
        for parameters in grid if method != "none" else ():
            yield Choice(method, deviation, parameters)


def _gain(
    hits: np.ndarray, forward: np.ndarray, image_of_text: np.ndarray, direction: Direction
) -> tuple[float, float]:
    """Mean gain over the forward scores, and its standard error over images."""
    difference = (hits - forward).mean(axis=1)
    if direction == "text_to_image":
        images = np.bincount(image_of_text)
        difference = np.bincount(image_of_text, weights=difference) * len(images) / len(image_of_text)
    return float(difference.mean()), float(difference.std() / np.sqrt(len(difference)))


def standard_deviation(scores: np.ndarray) -> float:
    """Of all entries, block by block: the unit of beta and strength."""
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):  # infinite, or not a number: its callers look
        mean = sum(block.sum(dtype=np.float64) for _, block in row_blocks(scores)) / scores.size
        squares = sum(np.square(block - mean).sum() for _, block in row_blocks(scores))
        return float(np.sqrt(squares / scores.size))
