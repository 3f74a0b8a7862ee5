"""UCM-Captions over UC Merced's own folders: Karpathy's JSON, which numbers the images from 1.tif to 2100.tif.

Image n is number (n - 1) % 100 of class (n - 1) // 100 in alphabetical order: 1.tif is agricultural00.tif.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath

from iebaker.datasets.detect import NUMBERED, UC_MERCED
from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats import karpathy
from iebaker.datasets.formats.records import ImageRecord
from iebaker.errors import IebakerError

EXTENSION = karpathy.EXTENSION
CLASSES = 21
PER_CLASS = 100


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the JSON file `name` under UC Merced's names; IebakerError names the entry that is wrong."""
    classes = sorted({match.group(1) for file in files.names if (match := UC_MERCED.fullmatch(file))})
    if len(classes) != CLASSES:
        raise IebakerError(f"{files.folder}: {len(classes)} of UC Merced's {CLASSES} class folders; get all of them")
    for record in karpathy.read(files, name):
        number = int(PurePosixPath(record.filename).stem) - 1 if NUMBERED.fullmatch(record.filename) else -1
        if not 0 <= number < CLASSES * PER_CLASS:
            raise IebakerError(f"{record.where}: must be named 1.tif to {CLASSES * PER_CLASS}.tif; is `format` right?")
        scene = classes[number // PER_CLASS]
        yield replace(record, filename=f"{scene}{number % PER_CLASS:02}.tif", scene=scene)
