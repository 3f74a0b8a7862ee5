"""From a raw benchmark to what training reads: manifest.parquet, pixels.npy and summary.json."""

import hashlib
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from iebaker import images
from iebaker.atomic import replacing
from iebaker.config.params import BenchmarkParams
from iebaker.corpus import manifest
from iebaker.corpus.loading import PIXELS_FILE, SUMMARY_FILE
from iebaker.datasets import formats, origin
from iebaker.datasets.files import UNPACKING_ERRORS
from iebaker.datasets.formats import Exclusion, ImageRecord
from iebaker.errors import IebakerError

# images in memory at a time
CHUNK = 256
# what reading a damaged file can raise, from the archive, the decompressor and Pillow's decoders
UNREADABLE = (*UNPACKING_ERRORS, *images.UNREADABLE)


def prepare(raw: Path, params: BenchmarkParams, destination: Path) -> dict[str, Any]:
    """Decode every image once and write the benchmark in the form that loading wants.

    Writes `manifest.parquet` (see `manifest.SCHEMA`), `pixels.npy` ((N, S, S, 3) uint8 RGB, S = `image_size`) and
    `summary.json`; the folder appears whole or not at all, and the same input gives the same bytes.

    Returns:
        The summary: images and captions per split, exclusions, SHA-256 of the manifest's content and of the pixels.

    Raises:
        IebakerError: see `formats.read`; also for unreadable images, unless `missing` is "exclude", and if none is
            left.
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
            raise IebakerError(f"{raw}: no readable image; the first: {first}. Mend the source, or correct `images`")
        table = build_manifest(readable, hashes)
        manifest.write(table, folder / manifest.FILE)
        summary = summarise(table, exclusions, pixels_sha256, origin.read(raw))
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
        image = images.decode(io.BytesIO(content))
    except UNREADABLE as error:
        return error
    return images.square(image, size).tobytes(), perceptual_hash(image)


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


def summarise(
    table: pd.DataFrame, exclusions: list[Exclusion], pixels_sha256: str, acquired: origin.Origin | None
) -> dict[str, Any]:
    """Counts per split, every exclusion, the checksums of the manifest's content and of the pixels, and the origin."""
    counts = table.groupby("split").agg(images=("image_id", "nunique"), captions=("caption_id", "size"))
    return {
        "images": {split: int(counts["images"].get(split, 0)) for split in manifest.SPLITS},
        "captions": {split: int(counts["captions"].get(split, 0)) for split in manifest.SPLITS},
        "excluded": dict(sorted(Counter(item.reason for item in exclusions).items())),
        "exclusions": [asdict(item) for item in exclusions],
        "manifest_sha256": manifest.digest(table),
        "pixels_sha256": pixels_sha256,
        "origin": asdict(acquired) if acquired else None,
    }
