"""A plain CSV with the columns `filename`, `title`, `split`, one caption a row; `scene` is optional."""

import csv
import io
from collections.abc import Iterator, Sequence

from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, parse_split, scene_of
from iebaker.errors import IebakerError

EXTENSION = ".csv"
COLUMNS = ("filename", "title", "split")
OPTIONAL_COLUMNS = ("scene",)


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the CSV file `name` in order of first appearance; IebakerError names file and line."""
    images: dict[str, ImageRecord] = {}
    for line, row in rows(files, name):
        where = f"{name}, line {line} ({row['filename']})"
        split = parse_split(row["split"], where)
        scene = row.get("scene") or scene_of(row["filename"])
        known = images.get(row["filename"])
        if known and known.split != split:
            raise IebakerError(
                f"{where}: split {split!r}, but {known.split!r} in {known.where}; an image has one split"
            )
        captions = (*known.captions, Caption(row["title"])) if known else (Caption(row["title"]),)
        images[row["filename"]] = ImageRecord(
            row["filename"], split, captions, known.where if known else where, known.scene if known else scene
        )
    yield from images.values()


def rows(files: RawFiles, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row); IebakerError for malformed rows, missing or double columns, and text that is not UTF-8."""
    try:
        text = files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IebakerError(f"{name}, byte {error.start}: not UTF-8 text; save it as UTF-8") from error
    check_separator(text.partition("\n")[0], name)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        check_columns(reader.fieldnames or [], name)
        for row in reader:
            if None in row or None in row.values():
                raise IebakerError(
                    f"{name}, line {reader.line_num}: not {len(reader.fieldnames or ())} fields; "
                    "quote titles with commas"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise IebakerError(f"{name}, line {reader.reader.line_num}: malformed CSV ({error})") from error


def check_separator(header: str, name: str) -> None:
    """Raise IebakerError for a header that is separated by something else than commas."""
    other = [] if "," in header else [separator for separator in ";\t|" if separator in header]
    if other:
        raise IebakerError(f"{name}, line 1: the columns are separated by {other[0]!r}; save the table with commas")


def check_columns(header: Sequence[str], name: str) -> None:
    """Raise IebakerError for a column that is missing, or that is there twice: no telling which is meant."""
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        raise IebakerError(f"{name}, line 1: no column {', '.join(missing)} (there: {header}); add it")
    for column in (*COLUMNS, *OPTIONAL_COLUMNS):
        if header.count(column) > 1:
            raise IebakerError(f"{name}, line 1: the column {column} is there twice; rename or remove one")
