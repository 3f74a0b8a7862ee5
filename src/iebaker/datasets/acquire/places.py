"""The places that a source may name, told apart by how they begin."""

import re
import urllib.parse
from dataclasses import dataclass
from typing import Literal

from iebaker.errors import IebakerError

SYNTHETIC = "synthetic"
HUB = re.compile(r"hf://datasets/([^/@\s]+/[^/@\s]+)(?:@([^/\s]+))?/(\S+)")
COMMIT = re.compile("[0-9a-f]{40}")
LONGEST_NAME = 200  # bytes; file systems allow 255, and a partial download's name is longer
SHOWN = 200

Kind = Literal["synthetic", "web", "hub", "local"]


def kind_of(place: str) -> Kind:
    """How a place is reached; IebakerError for a scheme that is not fetched."""
    if place == SYNTHETIC:
        return "synthetic"
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", place)
    if not match:
        return "local"
    scheme = match.group(1).lower()
    if scheme in ("http", "https"):
        return "web"
    if scheme == "hf":
        return "hub"
    raise IebakerError(
        f"{shown(place)}: cannot fetch by {scheme!r}; give http(s) or hf, or download it and give a path"
    )


def shown(place: str) -> str:
    """A place for people and records: one line, without the user, password and query that an address may hold."""
    if re.match(r"https?://", place, re.IGNORECASE):
        place = re.sub(r"//[^/?#]*@", "//", place, count=1)
        place = re.sub(r"[?#].*", "?…", place, flags=re.DOTALL)
    elif "://" not in place:
        place = place.rstrip("/").rsplit("/", 1)[-1] or place  # no absolute path in anything that is shared
    place = "".join(letter if letter.isprintable() else "?" for letter in place)
    return place if len(place) <= SHOWN else f"{place[:SHOWN]}…"


def name_of(url: str) -> str:
    """The file name that an address ends with.

    Raises:
        IebakerError: if there is none, if it could not be that of a file everywhere, or for a malformed address.
    """
    try:
        url.encode()
        parts = urllib.parse.urlsplit(url)
        _ = parts.port  # checked when read
        name = urllib.parse.unquote(parts.path, errors="strict").rsplit("/", 1)[-1]
    except ValueError as error:
        raise IebakerError("a malformed address; correct it") from error
    if not parts.hostname:
        raise IebakerError(f"{shown(url)}: the address names no host; correct it")
    if name in ("", ".", ".."):
        raise IebakerError(f"{shown(url)}: the address does not end with a file name")
    if len(name.encode()) > LONGEST_NAME or not name.isprintable() or re.search(r'[\\:*?"<>|]', name):
        raise IebakerError(f"{shown(url)}: what it ends with cannot be the name of a file everywhere")
    return name


@dataclass(frozen=True)
class HubPlace:
    """Files of a data set on the hub.

    Attributes:
        repository: ORG/NAME.
        revision: branch, tag or commit.
        pattern: glob over the names of its files; `*` also fits folders.
    """

    repository: str
    revision: str
    pattern: str

    @classmethod
    def parse(cls, place: str) -> "HubPlace":
        """From hf://datasets/ORG/NAME@REVISION/GLOB; IebakerError if it is none."""
        match = HUB.fullmatch(place)
        if not match:
            raise IebakerError(
                f"{shown(place)}: must be hf://datasets/ORG/NAME@REVISION/GLOB; only the revision is optional"
            )
        return cls(match.group(1), urllib.parse.unquote(match.group(2) or "main"), match.group(3))

    def at(self, commit: str) -> str:
        """The same place, pinned to a commit."""
        return f"hf://datasets/{self.repository}@{commit}/{self.pattern}"
