"""The images and captions of one split, read where they lie and decoded when they are needed; nothing is written."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from iebaker import images
from iebaker.config.params import BenchmarkParams
from iebaker.datasets import formats
from iebaker.datasets.files import UNPACKING_ERRORS
from iebaker.datasets.formats import ImageRecord
from iebaker.errors import IebakerError

LINKED = (".zip", ".parquet")


@dataclass(frozen=True)
class EvaluationSplit:
    """What a model is evaluated on.

    Attributes:
        name: of the data, for messages.
        images: the images for an input of that many pixels a side, as an image tower reads them.
        captions: N_text strings.
        image_of_text: (N_text,) column of each caption's own image.
        left_out: images and captions of all splits that could not be used.
        notes: what a reader of the numbers should know of the data.
    """

    name: str
    images: Callable[[int], list[Any]]
    captions: list[str]
    image_of_text: np.ndarray
    left_out: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class RawImage:
    """An image file that is decoded whenever its pixels are asked for."""

    record: ImageRecord
    size: int

    @property
    def pixels(self) -> np.ndarray:
        """(size, size, 3) uint8; IebakerError names a file that cannot be decoded."""
        try:
            decoded = images.decode(io.BytesIO(self.record.load()))
        except (*UNPACKING_ERRORS, *images.UNREADABLE) as error:
            raise IebakerError(f"{self.record.filename}: not a readable image ({error})") from error
        return np.asarray(images.square(decoded, self.size))


def read_split(folder: Path, params: BenchmarkParams, split: str, name: str) -> EvaluationSplit:
    """One split of a dataset in any declared format. What is missing or empty is left out and counted.

    Args:
        folder: images and annotations, as published.
        params: its layout, recognised where it is not named; `source` is not looked at.
        split: train, val or test.
        name: for messages.

    Raises:
        IebakerError: see `formats.read`; also if the split has no image.
    """
    records = formats.read(params.model_copy(update={"missing": "exclude"}), folder)
    chosen = [record for record in records.images if record.split == split]
    if not chosen:
        there = ", ".join(sorted({record.split for record in records.images}))
        raise IebakerError(f"{name}: no image of the split {split}; there: {there}")
    captions = [(caption.text, column) for column, record in enumerate(chosen) for caption in record.captions]
    texts, owners = zip(*captions, strict=True)

    def at(size: int) -> list[RawImage]:
        return [RawImage(record, size) for record in chosen]

    return EvaluationSplit(name, at, list(texts), np.array(owners), len(records.exclusions))


@contextmanager
def gathered(places: Sequence[Path]) -> Iterator[Path]:
    """One folder with what several folders and archives hold, by links; a single folder is taken as it is.

    Raises:
        IebakerError: for a place that is not there, or neither folder, zip nor parquet file.
    """
    for place in places:
        if not place.exists():
            raise IebakerError(f"{place}: no such file or folder (relative to {Path.cwd()})")
        if len(places) == 1 and place.is_file() and place.suffix.lower() not in LINKED:
            raise IebakerError(f"{place}: give the folder that holds annotations and images, or a zip of both")
    if len(places) == 1 and places[0].is_dir():
        yield places[0]
        return
    with TemporaryDirectory(prefix="iebaker-") as folder:
        for place in places:
            for path in place.iterdir() if place.is_dir() else [place]:
                (Path(folder) / path.name).symlink_to(path.resolve())
        yield Path(folder)
