"""The hub's parquet with embedded images: columns `filename`, `captions` (a list), `image` ({bytes, path}).

The split is the start of the file's name, as in `valid-00000-of-00001.parquet`.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, parse_split, scene_of
from iebaker.errors import IebakerError

EXTENSION = ".parquet"


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type come out as strings."""
    if pa.types.is_dictionary(kind):  # as pandas writes a categorical
        return is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def is_texts(kind: pa.DataType) -> bool:
    """Whether values of this type come out as lists of strings."""
    return (pa.types.is_list(kind) or pa.types.is_large_list(kind)) and is_text(kind.value_type)


def is_image(kind: pa.DataType) -> bool:
    """Whether this is a struct that embeds the encoded image under `bytes`."""
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    embedded = kind.field("bytes").type
    return bool(pa.types.is_binary(embedded) or pa.types.is_large_binary(embedded))


COLUMNS = {
    "filename": ("string", is_text),
    "captions": ("list<string>", is_texts),
    "image": ("struct with `bytes: binary`", is_image),
}


class EmbeddedImages:
    """Images of one parquet file, a row group in memory at a time: reading in order reads each group once."""

    def __init__(self, file: pq.ParquetFile):
        self._file = file
        self._group = -1
        self._images: pa.Array = []

    def load(self, group: int, row: int) -> bytes:
        """The encoded image in this row of this row group."""
        if group != self._group:
            column = self._file.read_row_group(group, columns=["image"]).column("image").combine_chunks()
            self._group, self._images = group, column.field("bytes")
        return self._images[row].as_py() or b""


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the parquet file `name`, with their embedded pixels; IebakerError names the row."""
    split = parse_split(re.split(r"[-_.]", name.rsplit("/", 1)[-1])[0], name)
    with errors_of(name):
        file = pq.ParquetFile(files.open(name))
    check_columns(file.schema_arrow, name)
    images = EmbeddedImages(file)
    row = 0
    for group in range(file.num_row_groups):
        with errors_of(name):
            entries = file.read_row_group(group, columns=["filename", "captions"]).to_pylist()
        for position, entry in enumerate(entries):
            where = f"{name}, row {row} ({entry['filename']})"
            if entry["filename"] is None:
                raise IebakerError(f"{where}: the file name is missing")
            captions = tuple(Caption(caption or "") for caption in entry["captions"] or ())
            load = partial(images.load, group, position)
            yield ImageRecord(entry["filename"], split, captions, where, scene_of(entry["filename"]), load=load)
            row += 1


@contextmanager
def errors_of(name: str) -> Iterator[None]:
    """Turn what pyarrow raises for a damaged file into a IebakerError that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise IebakerError(f"{name}: not a readable parquet file ({error}); get it again") from error


def check_columns(schema: pa.Schema, name: str) -> None:
    """Raise IebakerError for a column that is missing or of another type: a string would pass as a list of letters."""
    missing = [column for column in COLUMNS if column not in schema.names]
    if missing:
        raise IebakerError(f"{name}: no column {', '.join(missing)} (there: {', '.join(schema.names)})")
    for column, (expected, fits) in COLUMNS.items():
        found = schema.field(column).type
        if not fits(found):
            raise IebakerError(f"{name}: the column `{column}` is {found}, must be {expected}; convert it")
