"""What every annotation reader produces: one record an image, in the order of the file."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iebaker.datasets.files import RawFiles
from iebaker.errors import IebakerError

# `restval`: COCO's validation images that Karpathy's split gives to training
SPLITS = {"train": "train", "restval": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SCENE_PREFIX = re.compile(r"([A-Za-z]+(?:_[A-Za-z]+)*)_\d+$")


@dataclass(frozen=True)
class Caption:
    """One sentence; `weak` is the synthetic benchmark's mark of a weakly correlated one, "" elsewhere."""

    text: str
    weak: str = ""


def not_found() -> bytes:
    """Load the image of a record whose file was not looked for."""
    raise LookupError("no image file was attached to this record")


@dataclass(frozen=True)
class ImageRecord:
    """One annotated image.

    Attributes:
        split: train, val or test.
        where: file and row of the annotation, for messages.
        scene: scene class, "" if unknown.
        identity: the source's own image id, "" if it has none.
        load: gives the bytes of the encoded image; LookupError until an image is found.
    """

    filename: str
    split: str
    captions: tuple[Caption, ...]
    where: str
    scene: str = ""
    identity: str = ""
    load: Callable[[], bytes] = not_found


@dataclass(frozen=True)
class Exclusion:
    """Something left out: an image or a caption, why, where it stands, and what reading it said."""

    reason: str
    filename: str
    where: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.reason}: {self.filename} [{self.where}] {self.detail}".strip()


def parse_split(value: Any, where: str) -> str:
    """train, val or test, from the names that the sources use; IebakerError otherwise."""
    if not isinstance(value, str) or value not in SPLITS:
        raise IebakerError(f"{where}: unknown split {value!r}; known: {', '.join(SPLITS)}")
    return SPLITS[value]


def scene_of(filename: str) -> str:
    """The scene class that leads a file name, as in `airport_1.jpg`; "" where there is none, as in `00001.jpg`."""
    match = SCENE_PREFIX.match(filename.rsplit("/", 1)[-1].rsplit(".", 1)[0])
    return match.group(1) if match else ""


def load_json(files: RawFiles, name: str) -> Any:
    """Parse a JSON file; IebakerError with line and column if it is malformed."""
    try:
        return json.loads(files.read(name).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise IebakerError(
            f"{name}, line {error.lineno}, column {error.colno}: malformed JSON ({error.msg})"
        ) from error
    except UnicodeDecodeError as error:
        raise IebakerError(f"{name}, byte {error.start}: not UTF-8 text; save it as UTF-8") from error


def require(entry: Any, key: str, kind: type, where: str) -> Any:
    """`entry[key]`, which must be there and of this type; IebakerError otherwise."""
    if not isinstance(entry, dict) or key not in entry:
        raise IebakerError(f"{where}: the key {key!r} is missing; is `format` right?")
    if not isinstance(entry[key], kind):
        raise IebakerError(f"{where}: {key!r} must be a {kind.__name__}, not {entry[key]!r:.60}")
    if kind is str:
        check_text(entry[key], f"{where}: {key!r}")
    return entry[key]


def optional(entry: dict[str, Any], key: str, where: str, *kinds: type) -> str:
    """`entry[key]` as text, "" where it is absent or null; IebakerError if it is of another type than these."""
    value = entry.get(key)
    if value is None:
        return ""
    if type(value) not in kinds:  # not isinstance: a truth value would pass as int
        names = " or ".join(kind.__name__ for kind in kinds)
        raise IebakerError(f"{where}: {key!r} must be a {names}, not {value!r:.60}; correct or remove it")
    check_text(str(value), f"{where}: {key!r}")
    return str(value)


def check_text(text: str, where: str) -> None:
    """Raise IebakerError for text that UTF-8 cannot hold: JSON's escapes can name half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise IebakerError(f"{where} holds half a character, {text[error.start]!r}; correct it") from error
