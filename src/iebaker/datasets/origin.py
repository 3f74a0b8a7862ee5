"""The record that acquiring leaves beside the files: where they came from, and how they are laid out."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from iebaker.config.sources import Layout
from iebaker.errors import IebakerError

ORIGIN_FILE = ".origin.json"  # hidden, so that it is never taken for annotations


@dataclass(frozen=True)
class Origin:
    """Where a benchmark's raw files came from.

    Attributes:
        places: the parts of the source that was used, without secrets and absolute paths.
        files: SHA-256 of each file that a place is or gave; none of local folders.
        format: of the annotations, recognised or declared.
        annotations: the annotation file; '' finds it.
        images: folder or archive of images; '' looks everywhere.
    """

    places: list[str]
    files: dict[str, str]
    licence: str
    citation: str
    format: str
    annotations: str
    images: str

    @property
    def layout(self) -> Layout:
        """How the files are read."""
        return Layout.model_validate({key: getattr(self, key) for key in Layout.model_fields})


def write(folder: Path, record: Origin) -> None:
    """Write the record into the raw folder; the same source gives the same bytes."""
    (folder / ORIGIN_FILE).write_text(json.dumps(asdict(record), indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read(folder: Path) -> Origin | None:
    """The record of a raw folder; None where files were not acquired, but prepared as they lay.

    Raises:
        IebakerError: if it is damaged.
    """
    file = folder / ORIGIN_FILE
    try:
        return Origin(**json.loads(file.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise IebakerError(f"{file}: damaged ({error}); remove {folder} and acquire it again") from error
