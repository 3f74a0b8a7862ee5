"""A plain CSV with the columns `filename`, `title`, `split`, one caption a row; `scene` is optional."""

import csv
import io
from collections.abc import Iterator

from iebaker.datasets.files import DataError, RawFiles
from iebaker.datasets.formats.records import Caption, ImageRecord, parse_split, scene_of

EXTENSION = ".csv"
COLUMNS = ("filename", "title", "split")


def read(files: RawFiles, name: str) -> Iterator[ImageRecord]:
    """Yield the images of the CSV file `name` in order of first appearance; DataError names file and line."""
    images: dict[str, ImageRecord] = {}
    for line, row in rows(files, name):
        where = f"{name}, line {line} ({row['filename']})"
        split = parse_split(row["split"], where)
        scene = row.get("scene") or scene_of(row["filename"])
        known = images.get(row["filename"])
        if known and known.split != split:
            raise DataError(f"{where}: split {split!r}, but {known.split!r} in {known.where}; an image has one split")
        captions = (*known.captions, Caption(row["title"])) if known else (Caption(row["title"]),)
        images[row["filename"]] = ImageRecord(
            row["filename"], split, captions, known.where if known else where, known.scene if known else scene
        )
    yield from images.values()


def rows(files: RawFiles, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (line, row); raises DataError for malformed rows, missing columns and text that is not UTF-8."""
    try:
        text = files.read(name).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name}, byte {error.start}: not UTF-8 text; save it as UTF-8") from error
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
    if missing:
        raise DataError(f"{name}, line 1: no column {', '.join(missing)} (there: {reader.fieldnames}); add it")
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{name}, line {reader.line_num}: not {len(reader.fieldnames)} fields; quote titles with commas"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{name}, line {reader.reader.line_num}: malformed CSV ({error})") from error
