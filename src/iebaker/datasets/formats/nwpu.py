"""NWPU-Captions' JSON: a dictionary keyed by scene class.

Each entry has `filename`, `imgid`, `split`, and its captions under `raw`, `raw_1` ... `raw_4`; the images lie in a
folder a class.
"""

import re
from collections.abc import Iterator

from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, check_text, load_json, parse_split, require
from iebaker.errors import IebakerError

EXTENSION = ".json"
CAPTION_KEY = re.compile(r"raw(?:_(\d+))?")


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the JSON file `name`; IebakerError names the entry that is wrong."""
    classes = load_json(files, name)
    if not isinstance(classes, dict):
        raise IebakerError(f"{name}: must be a dictionary keyed by scene class; is `format` right?")
    for scene in classes:
        check_text(scene, f"{name}: the class {scene!r}")
        for row, entry in enumerate(require(classes, scene, list, name)):
            where = f"{name}, {scene}[{row}]"
            filename = require(entry, "filename", str, where)
            where = f"{where} ({filename})"
            keys = sorted(filter(CAPTION_KEY.fullmatch, entry), key=caption_number)
            yield ImageRecord(
                filename=filename,
                split=parse_split(entry.get("split"), where),
                captions=tuple(Caption(require(entry, key, str, where)) for key in keys),
                where=where,
                scene=scene,
                # ids may be counted a class
                identity=f"{scene}/{entry['imgid']}" if entry.get("imgid") is not None else "",
            )


def caption_number(key: str) -> int:
    """Position of a caption key: `raw` is 0, `raw_3` is 3."""
    return int(CAPTION_KEY.sub(r"\1", key) or 0)
