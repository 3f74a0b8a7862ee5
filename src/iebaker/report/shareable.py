"""What the report may show: no secrets of addresses, no absolute paths, no characters that act unseen."""

import re
from typing import Any

HIDDEN = "…"
PLACE = re.compile(
    r"""
    (?P<url>[A-Za-z][A-Za-z0-9+.-]*://[^\s'",\]}]*)
    | (?P<token>\bhf_[A-Za-z0-9]{16,})
    | (?P<quote>['"])(?P<quoted>(?:[A-Za-z-]+:(?!//))?(?:~|[A-Za-z]:)?[/\\][^'"\n]*)(?P=quote)
    | (?<![\w./~*-])(?P<bare>(?:~|[A-Za-z]:)?[/\\][^\s'",\]}]+)
    """,
    re.VERBOSE,
)
# C0 and C1 controls but tab and line feed, marks and overrides of the writing direction, halves of surrogate pairs
ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def shareable(text: str) -> str:
    """Text of params.yaml without users, passwords and queries of addresses, tokens of the hub, and absolute paths."""
    return PLACE.sub(_shown, text)


def visible(value: Any) -> Any:
    """A value of the template, its control characters replaced by one that is seen."""
    if isinstance(value, str) and ACTING.search(value):
        return type(value)(ACTING.sub("\N{REPLACEMENT CHARACTER}", value))
    return value


def _shown(match: re.Match[str]) -> str:
    if url := match["url"]:
        return re.sub(r"[?#].*", f"?{HIDDEN}", re.sub(r"//[^/?#]*@", "//", url, count=1), flags=re.DOTALL)
    if match["token"]:
        return f"hf_{HIDDEN}"
    path = match["quoted"] or match["bare"]
    name = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    scheme = re.match(r"[A-Za-z-]{2,}:", path)
    quote = match["quote"] or ""
    return f"{quote}{scheme.group() if scheme else ''}{HIDDEN}/{name}{quote}"
