"""From published annotations to checked image records: one reader a layout, the same checks for all.

Nothing is dropped in silence. What makes a source ambiguous or unsafe is an error; what is merely missing is
refused or excluded, as `data.<benchmark>.missing` says, and an exclusion is recorded.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from iebaker.datasets.files import DataError, RawFiles, check_relative
from iebaker.datasets.formats import hub_parquet, karpathy, nwpu, plain_csv
from iebaker.datasets.formats.records import Caption, Exclusion, ImageRecord
from iebaker.params import DataParams

READERS = {"karpathy": karpathy, "nwpu": nwpu, "parquet": hub_parquet, "csv": plain_csv}
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

__all__ = ["Caption", "Exclusion", "ImageRecord", "Records", "read", "refuse_exclusions"]


@dataclass(frozen=True)
class Records:
    """The usable images in the order of the annotations, and what was left out."""

    images: list[ImageRecord]
    exclusions: list[Exclusion]


def read(params: DataParams, raw: Path) -> Records:
    """Read the annotations in `raw`, check them, and find each image's file.

    Raises:
        DataError: naming file and row, for malformed annotations, unknown splits, unsafe or duplicate names and ids,
            an image name that fits several files, and, unless `missing` is "exclude", anything missing.
    """
    files = RawFiles(raw)
    reader = READERS[params.format]
    images = [record for name in annotation_files(files, params) for record in reader.read(files, name)]
    check_names(images)
    images = hold_out_validation(images, params.validation_share)
    exclusions: list[Exclusion] = []
    if params.format != "parquet":
        images = attach_images(images, files, params, exclusions)
    images = drop_empty_captions(images, exclusions)
    if not images:
        raise DataError(f"{raw}: no image with a caption and a file; are `format`, `annotations` and `images` right?")
    refuse_exclusions(exclusions, params)
    return Records(images, exclusions)


def refuse_exclusions(exclusions: list[Exclusion], params: DataParams) -> None:
    """Raise DataError that lists what is missing, unless the params exclude it."""
    if not exclusions or params.missing == "exclude":
        return
    shown = "; ".join(f"{item.reason}: {item.filename} [{item.where}] {item.detail}".strip() for item in exclusions[:5])
    more = f"; and {len(exclusions) - 5} more" if len(exclusions) > 5 else ""
    raise DataError(f"{shown}{more}. Mend the source, or set `missing: exclude` to leave them out and count them")


def annotation_files(files: RawFiles, params: DataParams) -> list[str]:
    """The annotation file, or all parquet files; DataError if it cannot be told which is meant."""
    extension = READERS[params.format].EXTENSION
    found = [name for name in files.named(params.annotations) if name.lower().endswith(extension)]
    if not found:
        raise DataError(f"{files.folder}: no {extension} file for `format: {params.format}`; name it in `annotations`")
    if len(found) > 1 and params.format != "parquet":
        raise DataError(f"{files.folder}: which of {', '.join(found[:5])}? Name it in `annotations`")
    return found


def check_names(images: Iterable[ImageRecord]) -> None:
    """Raise DataError for a file name that is unsafe, or a name or id that two images share."""
    seen: dict[tuple[str, str], str] = {}
    for record in images:
        check_relative(record.filename, record.where)
        for kind, value in (("file name", record.filename), ("id", record.identity)):
            earlier = seen.setdefault((kind, value), record.where) if value else record.where
            if earlier != record.where:
                raise DataError(f"{record.where}: {kind} {value!r} is also that of {earlier}; it must be unique")


def hold_out_validation(images: list[ImageRecord], share: float) -> list[ImageRecord]:
    """Move a share of the training images to val, chosen by a hash of the file name: order and seed don't matter.

    Raises:
        DataError: if the source marks a validation split of its own.
    """
    if share == 0:
        return images
    official = sum(record.split == "val" for record in images)
    if official:
        raise DataError(f"validation_share={share}, but the source marks {official} images as val; set it to 0")

    def split(record: ImageRecord) -> str:
        position = int.from_bytes(hashlib.sha256(record.filename.encode()).digest()[:8]) / 2**64
        return "val" if record.split == "train" and position < share else record.split

    return [replace(record, split=split(record)) for record in images]


def attach_images(
    images: list[ImageRecord], files: RawFiles, params: DataParams, exclusions: list[Exclusion]
) -> list[ImageRecord]:
    """Give each record the loader of its file; records without file and files without record become exclusions."""
    names = [name for name in files.named(params.images) if name.lower().endswith(IMAGE_EXTENSIONS)]
    by_base: dict[str, list[str]] = {}
    for name in names:
        by_base.setdefault(name.rsplit("/", 1)[-1], []).append(name)
    found, used = [], set()
    for record in images:
        name = find_image(record, by_base)
        if name is None:
            exclusions.append(Exclusion("caption without image", record.filename, record.where))
            continue
        used.add(name)
        found.append(replace(record, load=partial(files.read, name)))
    exclusions.extend(Exclusion("image without caption", name, name) for name in names if name not in used)
    return found


def find_image(record: ImageRecord, by_base: dict[str, list[str]]) -> str | None:
    """The file that a record means: the one whose path ends with its name, in the scene's folder if several do."""
    candidates = by_base.get(record.filename.rsplit("/", 1)[-1], [])
    fitting = [name for name in candidates if f"/{name}".endswith(f"/{record.filename}")]
    in_scene = [name for name in fitting if f"/{name}".endswith(f"/{record.scene}/{record.filename}")]
    # some releases drop or add a folder in the annotations; a unique base name still tells
    fitting = in_scene or fitting or candidates
    if len(fitting) > 1:
        raise DataError(f"{record.where}: {record.filename!r} fits {', '.join(fitting[:3])}; name one in `images`")
    return fitting[0] if fitting else None


def drop_empty_captions(images: list[ImageRecord], exclusions: list[Exclusion]) -> list[ImageRecord]:
    """Strip captions and leave out empty ones, and images that then have none; both become exclusions."""
    kept = []
    for record in images:
        captions = tuple(replace(caption, text=caption.text.strip()) for caption in record.captions)
        filled = tuple(caption for caption in captions if caption.text)
        if filled:
            empty = len(captions) - len(filled)
            exclusions.extend([Exclusion("empty caption", record.filename, record.where)] * empty)
            kept.append(replace(record, captions=filled))
        else:
            exclusions.append(Exclusion("image without caption", record.filename, record.where))
    return kept
