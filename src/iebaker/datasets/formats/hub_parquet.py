"""The hub's parquet with embedded images: columns `filename`, `captions` (a list), `image` ({bytes, path}).

The split is the start of the file's name, as in `valid-00000-of-00001.parquet`.
"""

import re
from collections.abc import Iterator
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.datasets.files import DataError, RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, parse_split, scene_of

EXTENSION = ".parquet"
COLUMNS = ("filename", "captions", "image")


class EmbeddedImages:
    """Images of one parquet file, a row group in memory at a time: reading in order reads each group once."""

    def __init__(self, file: pq.ParquetFile):
        self._file = file
        self._group = -1
        self._images: list[bytes | None] = []

    def load(self, group: int, row: int) -> bytes:
        """The encoded image in this row of this row group."""
        if group != self._group:
            column = self._file.read_row_group(group, columns=["image"]).column("image").combine_chunks()
            self._group, self._images = group, column.field("bytes")
        return self._images[row].as_py() or b""


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the parquet file `name`, with their embedded pixels; DataError names the row."""
    split = parse_split(re.split(r"[-_.]", name.rsplit("/", 1)[-1])[0], name)
    try:
        file = pq.ParquetFile(files.open(name))
    except pa.ArrowInvalid as error:
        raise DataError(f"{name}: not a readable parquet file ({error})") from error
    missing = [column for column in COLUMNS if column not in file.schema_arrow.names]
    if missing:
        raise DataError(f"{name}: no column {', '.join(missing)} (there: {', '.join(file.schema_arrow.names)})")
    images = EmbeddedImages(file)
    row = 0
    for group in range(file.num_row_groups):
        table = file.read_row_group(group, columns=["filename", "captions"])
        for position, entry in enumerate(table.to_pylist()):
            where = f"{name}, row {row} ({entry['filename']})"
            if entry["filename"] is None:
                raise DataError(f"{where}: the file name is missing")
            captions = tuple(Caption(caption or "") for caption in entry["captions"] or ())
            load = partial(images.load, group, position)
            yield ImageRecord(entry["filename"], split, captions, where, scene_of(entry["filename"]), load=load)
            row += 1
