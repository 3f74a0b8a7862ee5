"""From published annotations to checked image records: one reader a layout, the same checks for all.

Nothing is dropped in silence. What makes a source ambiguous or unsafe is an error; what is merely missing is
refused or excluded, as `benchmark.<name>.missing` says, and an exclusion is recorded.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePath

from iebaker.config.params import BenchmarkParams
from iebaker.config.sources import Layout
from iebaker.datasets import origin
from iebaker.datasets.detect import detect
from iebaker.datasets.files import RawFiles, check_relative
from iebaker.datasets.formats import hub_parquet, karpathy, nwpu, plain_csv, ucm
from iebaker.datasets.formats.records import Caption, Exclusion, ImageRecord
from iebaker.errors import IebakerError

READERS = {"karpathy": karpathy, "nwpu": nwpu, "ucm": ucm, "parquet": hub_parquet, "csv": plain_csv}
IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")

__all__ = ["Caption", "Exclusion", "ImageRecord", "Records", "read", "refuse_exclusions"]


@dataclass(frozen=True)
class Records:
    """The usable images in the order of the annotations, and what was left out."""

    images: list[ImageRecord]
    exclusions: list[Exclusion]


def read(params: BenchmarkParams, raw: Path) -> Records:
    """Read the annotations in `raw`, check them, and find each image's file.

    The layout is what acquiring recorded; where files were not acquired, it is recognised.

    Raises:
        IebakerError: naming file and row, for malformed annotations, unknown splits, unsafe or duplicate names and ids,
            an image name that fits several files, a file that fits several names, no usable image at all, and, unless
            `missing` is "exclude", anything missing.
    """
    files = RawFiles(raw)
    acquired = origin.read(raw)
    layout = acquired.layout if acquired else detect(files, params)
    reader = READERS[str(layout.format)]
    images = [record for name in annotation_files(files, layout) for record in reader.read(files, name)]
    check_names(images)
    images = hold_out_validation(images, params.validation_share)
    exclusions: list[Exclusion] = []
    if layout.format != "parquet":
        images = attach_images(images, files, layout.images, exclusions)
    images = drop_empty_captions(images, exclusions)
    if not images:
        raise IebakerError(
            f"{raw}: no image with a caption and a file; are `format`, `annotations` and `images` right?"
            + "".join(f" The first: {item}" for item in exclusions[:1])
        )
    refuse_exclusions(exclusions, params)
    return Records(images, exclusions)


def refuse_exclusions(exclusions: list[Exclusion], params: BenchmarkParams) -> None:
    """Raise IebakerError that lists what is missing, unless the params exclude it."""
    if not exclusions or params.missing == "exclude":
        return
    shown = "; ".join(map(str, exclusions[:5]))
    more = f"; and {len(exclusions) - 5} more" if len(exclusions) > 5 else ""
    raise IebakerError(f"{shown}{more}. Mend the source, or set `missing: exclude` to leave them out and count them")


def annotation_files(files: RawFiles, layout: Layout) -> list[str]:
    """The annotation file, or all parquet files; IebakerError if it cannot be told which is meant."""
    extension = READERS[str(layout.format)].EXTENSION
    found = [name for name in files.named(layout.annotations) if name.lower().endswith(extension)]
    if not found:
        raise IebakerError(
            f"{files.folder}: no {extension} file for `format: {layout.format}`; name it in `annotations`"
        )
    if len(found) > 1 and layout.format != "parquet":
        raise IebakerError(f"{files.folder}: which of {', '.join(found[:5])}? Name it in `annotations`")
    return found


def check_names(images: Iterable[ImageRecord]) -> None:
    """Raise IebakerError for a file name that is unsafe, or a name or id that two images share."""
    seen: dict[tuple[str, str], str] = {}
    for record in images:
        check_relative(record.filename, record.where)
        for kind, value in (("file name", record.filename), ("id", record.identity)):
            earlier = seen.setdefault((kind, value), record.where) if value else record.where
            if earlier != record.where:
                raise IebakerError(f"{record.where}: {kind} {value!r} is also that of {earlier}; it must be unique")


def hold_out_validation(images: list[ImageRecord], share: float) -> list[ImageRecord]:
    """Move a share of the training images to val, chosen by a hash of the file name: order and seed don't matter.

    Raises:
        IebakerError: if the source marks a validation split of its own.
    """
    if share == 0:
        return images
    official = sum(record.split == "val" for record in images)
    if official:
        raise IebakerError(f"validation_share={share}, but the source marks {official} images as val; set it to 0")

    def split(record: ImageRecord) -> str:
        position = int.from_bytes(hashlib.sha256(record.filename.encode()).digest()[:8]) / 2**64
        return "val" if record.split == "train" and position < share else record.split

    return [replace(record, split=split(record)) for record in images]


def attach_images(
    images: list[ImageRecord], files: RawFiles, place: str, exclusions: list[Exclusion]
) -> list[ImageRecord]:
    """Give each record the loader of its file in the folder or archive `place`, '' for everywhere.

    Records without file and files without record become exclusions.

    Raises:
        IebakerError: for a name that fits several files, or a file that fits several names.
    """
    names = files.named(place)
    by_base: dict[str, list[str]] = {}
    for file in names:
        by_base.setdefault(base(file), []).append(file)
    records_of_base = Counter(base(record.filename) for record in images)
    found, used = [], dict[str, str]()
    for record in images:
        name = find_image(record, by_base, alone=records_of_base[base(record.filename)] == 1)
        if name is None:
            others = by_base.get(base(record.filename), [])
            detail = f"only elsewhere: {', '.join(others[:3])}" if others else ""
            exclusions.append(Exclusion("caption without image", record.filename, record.where, detail))
            continue
        if name in used:
            raise IebakerError(f"{record.where}: {name} is also the image of {used[name]}; correct one of the names")
        used[name] = record.where
        if is_read(name):
            found.append(replace(record, load=partial(files.read, name)))
        else:
            detail = f"{PurePath(name).suffix or name} is not read; convert it to one of {', '.join(IMAGE_EXTENSIONS)}"
            exclusions.append(Exclusion("unreadable image", record.filename, record.where, detail))
    unused = [name for name in names if is_read(name) and name not in used]
    exclusions.extend(Exclusion("image without caption", name, name) for name in unused)
    return found


def base(name: str) -> str:
    """The name without its folders."""
    return name.rsplit("/", 1)[-1]


def is_read(name: str) -> bool:
    """Whether the extension is one of those that are read."""
    return name.lower().endswith(IMAGE_EXTENSIONS)


def find_image(record: ImageRecord, by_base: dict[str, list[str]], alone: bool) -> str | None:
    """The file that a record means: the one whose path ends with its name, in the scene's folder if several do.

    Some releases drop or add a folder in the annotations; a bare name still tells, but only if one file has it and
    the record is `alone` in having it: else a missing image would take the pixels of another one.
    """
    candidates = by_base.get(base(record.filename), [])
    fitting = [name for name in candidates if f"/{name}".endswith(f"/{record.filename}")]
    in_scene = [name for name in fitting if f"/{name}".endswith(f"/{record.scene}/{record.filename}")]
    fitting = in_scene or fitting
    if len(fitting) > 1:
        raise IebakerError(f"{record.where}: {record.filename!r} fits {', '.join(fitting[:3])}; name one in `images`")
    if fitting:
        return fitting[0]
    return candidates[0] if alone and len(candidates) == 1 else None


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
