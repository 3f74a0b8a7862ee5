"""Decoding images: upright, RGB, square."""

import struct
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from iebaker.errors import IebakerError

# what Pillow's decoders raise for damaged files
UNREADABLE = (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError)
# longest side that is enlarged, in short sides: a strip of 1 x 65000 pixels would grow to gigabytes
STRIP = 32


def open_image(path: Path) -> Image.Image:
    """The image of a file, as `decode`.

    Raises:
        IebakerError: naming the file and what is wrong with it.
    """
    try:
        with path.open("rb") as file:
            return decode(file)
    except FileNotFoundError as error:
        raise IebakerError(f"{path}: no such file") from error
    except UNREADABLE as error:
        raise IebakerError(f"{path}: not a readable image ({error})") from error


def decode(file: BinaryIO) -> Image.Image:
    """The RGB image of an open file, turned as its EXIF orientation says.

    Raises:
        IebakerError: for pixels of more than 8 bits: Pillow cuts grey ones off at 255, and keeps the upper halves of
            coloured ones, which leaves little of sensors' 11 or 12 bits.
        Exception: one of UNREADABLE, for a damaged file.
    """
    with Image.open(file) as encoded:
        if deep := _deeper_than_8_bits(encoded):
            raise IebakerError(f"16-bit or float pixels ({deep}): convert to 8 bits")
        image = encoded.convert("RGB")
    _turn_upright(image)
    return image


def square(image: Image.Image, size: int) -> Image.Image:
    """Resize the shorter side to `size` (bicubic, antialiased) and cut out the centre; untouched if it fits."""
    short = min(image.size)
    scale = size / short
    if scale > 1 and max(image.size) > STRIP * short:
        image = _centre(image, [min(side, STRIP * short) for side in image.size])
    if scale != 1:
        image = image.resize([max(size, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)
    return _centre(image, (size, size))


def oriented(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """(S, S, 3) pixels in one of the eight orientations of a square.

    Odd ones are mirrored; the first 2 are otherwise as they were, 2 and 3 upside down, from 4 on on their side.
    """
    turned = np.rot90(pixels, (0, 2, 1, 3)[orientation // 2])
    return turned[:, ::-1] if orientation % 2 else turned


def _centre(image: Image.Image, size: Sequence[int]) -> Image.Image:
    """Cut out the middle, `size` = (width, height)."""
    left, top = ((side - kept) // 2 for side, kept in zip(image.size, size, strict=True))
    return image.crop((left, top, left + size[0], top + size[1]))


def _deeper_than_8_bits(encoded: Image.Image) -> str:
    """The mode, or how the file packs them, if pixels have more than 8 bits; else ""."""
    if encoded.mode.startswith(("I", "F")):
        return f"mode {encoded.mode}"
    for tile in getattr(encoded, "tile", ()):  # decoder, box, offset, arguments: "RGB;16B", alone or first of several
        packing = tile[3] if isinstance(tile[3], str) else next(iter(tile[3] or ()), "")
        if ";16" in str(packing):
            return f"packed as {packing}"
    return ""


def _turn_upright(image: Image.Image) -> None:
    """Turn the pixels as the EXIF orientation says, in place; nothing changes without the tag."""
    with suppress(Exception):  # whatever a parser of broken metadata raises, it must not cost good pixels
        ImageOps.exif_transpose(image, in_place=True)
