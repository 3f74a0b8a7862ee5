"""What is embedded: a whole image, or one window of a georeferenced scene."""

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image

from iebaker import images
from iebaker.errors import IebakerError
from iebaker.search.listing import Roots

Window = tuple[int, int, int, int]  # column, row, width, height in pixels of the scene
Box = tuple[float, float, float, float]  # west, south, east, north in degrees; west > east crosses the antimeridian
GEO_KEYS = 34735  # GeoKeyDirectoryTag: a TIFF with it is a scene


class Place(NamedTuple):
    """Where, when and by what an item was taken; None where unknown.

    Attributes:
        box: bounding box in EPSG:4326.
        gsd: ground sample distance in metres.
    """

    box: Box | None = None
    datetime: dt.datetime | None = None
    sensor: str | None = None
    gsd: float | None = None


@dataclass(frozen=True)
class Item:
    """One row of an archive before it is embedded.

    Attributes:
        pixels: (S, S, 3) uint8, S being what the image tower reads.
        window: in the scene; None for a whole image.
    """

    pixels: np.ndarray
    window: Window | None = None
    place: Place = Place()


@dataclass(frozen=True)
class SceneSettings:
    """How scenes are cut and scaled to 8 bits; it changes embeddings, so an archive records it.

    Attributes:
        chip: side of a window in pixels.
        stride: step between windows in pixels; 0 is half a chip.
        min_valid: smallest share of pixels that are not nodata.
        bands: three 1-based bands that become red, green and blue; empty: the first three, or the first one thrice.
        scale: (lowest, highest) value that become 0 and 255; empty: bytes as they are, others by percentiles 2 and 98
            of each band over the scene.
    """

    chip: int = 224
    stride: int = 0
    min_valid: float = 0.5
    bands: tuple[int, ...] = ()
    scale: tuple[float, ...] = ()

    @property
    def step(self) -> int:
        """Pixels between windows."""
        return self.stride or max(1, self.chip // 2)


def items_of(roots: Roots, href: str, size: int, settings: SceneSettings) -> Iterator[Item]:
    """The items of one file: itself, or the windows of a scene.

    Args:
        size: side of the squares to give.

    Raises:
        IebakerError: if it cannot be read as an image.
    """
    from iebaker.search import scenes, stac

    known = stac.place_of(stac.item_of(roots, href))
    with roots.open(href) as file:
        if is_scene(file):
            yield from scenes.windows_of(file, known, size, settings)
        else:
            yield Item(np.asarray(images.square(_decode(file), size)), None, known)


def open_item(roots: Roots, href: str, window: Window | None, settings: SceneSettings) -> Image.Image:
    """The picture of one row of an archive, as a person sees it: whole, or the window at its own resolution.

    Raises:
        IebakerError: if its file is not there or not readable any more.
    """
    with roots.open(href) as file:
        if window is None:
            return _decode(file)
        from iebaker.search import scenes

        return scenes.open_window(file, window, settings)


def is_scene(file: BinaryIO) -> bool:
    """Whether an open file is a TIFF with coordinates; it is at its start again."""
    try:
        if file.read(4) not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return False
        file.seek(0)
        with Image.open(file) as image:
            return GEO_KEYS in getattr(image, "tag_v2", {})
    except images.UNREADABLE:
        return True  # more bands or other numbers than Pillow reads: rasterio's to say
    finally:
        file.seek(0)


def _decode(file: BinaryIO) -> Image.Image:
    try:
        return images.decode(file)
    except images.UNREADABLE as error:  # an IebakerError too is a ValueError
        raise IebakerError(f"not a readable image: {error}") from error
