"""From a raw benchmark to what training reads: manifest.parquet, pixels.npy and summary.json."""

import hashlib
import io
import json
import os
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm import tqdm

from iebaker.datasets import formats, manifest
from iebaker.datasets.files import UNPACKING_ERRORS, DataError, replacing
from iebaker.datasets.formats import Exclusion, ImageRecord
from iebaker.params import DataParams

PIXELS_FILE = "pixels.npy"
SUMMARY_FILE = "summary.json"
# images in memory at a time
CHUNK = 256
# longest side that is enlarged, in short sides: a strip of 1 x 65000 pixels would grow to gigabytes
STRIP = 32
# what reading a damaged file can raise, from the archive, the decompressor and Pillow's decoders
UNREADABLE = (*UNPACKING_ERRORS, SyntaxError, struct.error, Image.DecompressionBombError)


def prepare(raw: Path, params: DataParams, destination: Path) -> dict:
    """Decode every image once and write the benchmark in the form that loading wants.

    Writes `manifest.parquet` (see `manifest.SCHEMA`), `pixels.npy` ((N, S, S, 3) uint8 RGB, S = `image_size`) and
    `summary.json`; the folder appears whole or not at all, and the same input gives the same bytes.

    Returns:
        The summary: images and captions per split, exclusions, SHA-256 of the manifest's content and of the pixels.

    Raises:
        DataError: see `formats.read`; also for unreadable images, unless `missing` is "exclude", and if none is left.
    """
    records = formats.read(params, raw)
    exclusions = list(records.exclusions)
    with replacing(destination) as folder:
        readable, hashes, pixels_sha256 = write_pixels(
            records.images, params.image_size, folder / PIXELS_FILE, exclusions
        )
        formats.refuse_exclusions(exclusions, params)
        if not readable:
            first = exclusions[len(records.exclusions)]
            raise DataError(f"{raw}: no readable image; the first: {first}. Mend the source, or correct `images`")
        table = build_manifest(readable, hashes)
        manifest.write(table, folder / manifest.FILE)
        summary = summarise(table, exclusions, pixels_sha256)
        (folder / SUMMARY_FILE).write_text(json.dumps(summary, indent=1) + "\n")
    return summary


def write_pixels(
    images: list[ImageRecord], size: int, file: Path, exclusions: list[Exclusion]
) -> tuple[list[ImageRecord], list[int], str]:
    """Stream the decoded images into an .npy file; unreadable ones are appended to `exclusions`.

    Returns:
        The readable records in order (row of the array = position), their perceptual hashes, and the SHA-256 of the
        array's bytes in C order.
    """
    readable, hashes, digest = [], [], hashlib.sha256()
    with file.open("wb") as stream:
        write_header(stream, len(images), size)
        for record, decoded in tqdm(decode_all(images, size), total=len(images), desc="images", unit="image"):
            if isinstance(decoded, Exception):
                # Pillow's message ends with the address of an object, which differs on every run
                detail = str(decoded).split(" <")[0]
                exclusions.append(Exclusion("unreadable image", record.filename, record.where, detail))
                continue
            pixels, phash = decoded
            stream.write(pixels)
            digest.update(pixels)
            readable.append(record)
            hashes.append(phash)
        stream.seek(0)
        write_header(stream, len(readable), size)
    return readable, hashes, digest.hexdigest()


def write_header(stream: io.BufferedWriter, count: int, size: int) -> None:
    """Write the .npy header of a (count, size, size, 3) uint8 array; numpy pads it so that `count` may change."""
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "|u1", "fortran_order": False, "shape": (count, size, size, 3)}
    )


def decode_all(images: list[ImageRecord], size: int) -> Iterator[tuple[ImageRecord, tuple[bytes, int] | Exception]]:
    """Decode in order, a chunk at a time: files are read here, decoded by a thread a core."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in range(0, len(images), CHUNK):
            chunk = images[start : start + CHUNK]
            contents = [read_content(record) for record in chunk]
            yield from zip(chunk, pool.map(lambda content: decode(content, size), contents), strict=True)


def read_content(record: ImageRecord) -> bytes | Exception:
    """The encoded image, or the error that reading it raised."""
    try:
        return record.load()
    except UNREADABLE as error:
        return error


def decode(content: bytes | Exception, size: int) -> tuple[bytes, int] | Exception:
    """Decode one image, or return the error that says why not.

    Returns:
        The (size, size, 3) RGB pixels as bytes in C order, and the 64-bit perceptual hash of the whole image.
    """
    if isinstance(content, Exception):
        return content
    try:
        with Image.open(io.BytesIO(content)) as encoded:
            if encoded.mode.startswith(("I", "F")):
                # Pillow would cut the values off at 255
                raise DataError(f"16-bit or float pixels (mode {encoded.mode}): convert to 8 bits")
            image = encoded.convert("RGB")
    except UNREADABLE as error:
        return error
    turn_upright(image)
    return square(image, size).tobytes(), perceptual_hash(image)


def turn_upright(image: Image.Image) -> None:
    """Turn the pixels as the EXIF orientation says, in place; nothing changes without the tag."""
    with suppress(Exception):  # whatever a parser of broken metadata raises, it must not cost good pixels
        ImageOps.exif_transpose(image, in_place=True)


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and cut out the centre; untouched if it fits."""
    short = min(image.size)
    scale = size / short
    if scale > 1 and max(image.size) > STRIP * short:
        image = centre(image, [min(side, STRIP * short) for side in image.size])
    if scale != 1:
        image = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    return centre(image, (size, size))


def centre(image: Image.Image, size: Sequence[int]) -> Image.Image:
    """Cut out the middle, `size` = (width, height)."""
    left, top = ((side - kept) // 2 for side, kept in zip(image.size, size, strict=True))
    return image.crop((left, top, left + size[0], top + size[1]))


def perceptual_hash(image: Image.Image) -> int:
    """64-bit DCT perceptual hash (imagehash.phash), its bits row by row, the first one highest."""
    return int.from_bytes(np.packbits(imagehash.phash(image).hash).tobytes())


def build_manifest(images: list[ImageRecord], hashes: list[int]) -> pd.DataFrame:
    """One row per (image, caption), numbered in order."""
    rows = [
        (image_id, record.filename, caption.text, record.split, record.scene, caption.weak, phash)
        for image_id, (record, phash) in enumerate(zip(images, hashes, strict=True))
        for caption in record.captions
    ]
    table = pd.DataFrame(rows, columns=[name for name in manifest.SCHEMA.names if name != "caption_id"])
    table.insert(1, "caption_id", np.arange(len(rows)))
    return table.astype({"phash": np.uint64})


def summarise(table: pd.DataFrame, exclusions: list[Exclusion], pixels_sha256: str) -> dict:
    """Counts per split, every exclusion, and the checksums of the manifest's content and of the pixels."""
    counts = table.groupby("split").agg(images=("image_id", "nunique"), captions=("caption_id", "size"))
    return {
        "images": {split: int(counts["images"].get(split, 0)) for split in manifest.SPLITS},
        "captions": {split: int(counts["captions"].get(split, 0)) for split in manifest.SPLITS},
        "excluded": dict(sorted(Counter(item.reason for item in exclusions).items())),
        "exclusions": [asdict(item) for item in exclusions],
        "manifest_sha256": manifest.digest(table),
        "pixels_sha256": pixels_sha256,
    }
