"""Query parameters of the API, checked."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from iebaker.errors import IebakerError
from iebaker.search.items import Box
from iebaker.search.query import Term

MAX_BYTES = 20 * 2**20  # of an uploaded image
MAX_PIXELS = 50 * 10**6  # of an uploaded image
MAX_CHARACTERS = 300  # of each text
MAX_TERMS = 8
MAX_COUNT = 200
FORMATS = ("json", "csv", "geojson")
KNOWN = ("q", "plus", "minus", "like", "k", "bbox", "since", "until", "sensor", "format")


@dataclass(frozen=True)
class Asked:
    """One request.

    Attributes:
        terms: words and rows; an uploaded image is added to them.
        like: a row of the archive, as "more like this" asks for.
    """

    terms: list[Term]
    like: int | None
    count: int
    where: str | None
    box: Box | None
    format: str


def read_query(given: Any) -> Asked:
    """What a request asks for.

    Args:
        given: the query parameters, a multi-dictionary.

    Raises:
        IebakerError: naming the parameter that is unknown, too long or malformed.
    """
    if unknown := sorted(set(given) - set(KNOWN)):
        raise IebakerError(f"unknown parameter {unknown[0]!r}; there are {', '.join(KNOWN)}")
    texts = {name: [text.strip() for text in given.getlist(name) if text.strip()] for name in KNOWN}
    for name in KNOWN:
        if any(len(text) > MAX_CHARACTERS for text in texts[name]):
            raise IebakerError(f"{name} is longer than {MAX_CHARACTERS} characters")
    terms = [Term(text) for name in ("q", "plus") for text in texts[name]]
    terms += [Term(text, -1) for text in texts["minus"]]
    like = _number(texts["like"], "like", 0, 2**62, None)
    if like is not None:
        terms.append(Term(like))
    if len(terms) > MAX_TERMS:
        raise IebakerError(f"{len(terms)} terms; at most {MAX_TERMS}")
    form = (texts["format"] or ["json"])[0]
    if form not in FORMATS:
        raise IebakerError(f"format={form}: there are {', '.join(FORMATS)}")
    count = _number(texts["k"], "k", 1, MAX_COUNT, 20)
    return Asked(terms, like, count, _condition(texts), _box(texts["bbox"]), form)


def _number(given: Sequence[str], name: str, least: int, most: int, default: Any) -> Any:
    if not given:
        return default
    if not (given[0].isascii() and given[0].isdigit() and least <= int(given[0]) <= most):
        raise IebakerError(f"{name}={given[0]}: a whole number from {least} to {most} is expected")
    return int(given[0])


def _condition(texts: dict[str, list[str]]) -> str | None:
    """The filters as a condition; `repr` quotes what the user wrote, and where.py executes nothing."""
    parts = [f"datetime >= {text!r}" for text in texts["since"]]
    for text in texts["until"]:
        parts.append(f"datetime <= {text + 'T23:59:59' if len(text) == len('2024-01-31') else text!r}")
    if texts["sensor"]:
        parts.append(f"sensor in {texts['sensor']!r}")
    return " and ".join(parts) or None


def _box(given: Sequence[str]) -> Box | None:
    if not given:
        return None
    try:
        west, south, east, north = (float(edge) for edge in given[0].split(","))
    except ValueError as error:
        raise IebakerError(f"bbox={given[0]}: give west,south,east,north in degrees") from error
    return west, south, east, north
