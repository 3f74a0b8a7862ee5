"""Windows of georeferenced scenes (extra `geo`: rasterio)."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from iebaker import images
from iebaker.errors import IebakerError
from iebaker.search.items import Box, Item, Place, SceneSettings, Window

OVERVIEW = 512  # side in pixels of the reduced scene that percentiles are taken from
PERCENTILES = (2, 98)
DENSIFY = 21  # points an edge that are projected for a bounding box
METRES_PER_DEGREE = 111_320.0
TIME_TAGS = ("TIFFTAG_DATETIME", "ACQUISITION_DATETIME", "datetime")
SENSOR_TAGS = ("PLATFORM", "SATELLITE", "SENSOR", "platform", "sensor")


def windows_of(file: BinaryIO, known: Place, size: int, settings: SceneSettings) -> Iterator[Item]:
    """The windows of a scene with enough valid pixels, row by row.

    Args:
        file: open at its start.
        known: what a STAC item says; place and pixel size come from the scene itself where it has them.
        size: side of the squares to give.

    Raises:
        IebakerError: if it cannot be read, has no such bands, or no window has enough valid pixels.
    """
    with _opened(file) as scene:
        scaling = _scaling(scene, settings)
        time, sensor = _tags(scene)
        found = False
        for top in starts(scene.height, settings.chip, settings.step):
            for left in starts(scene.width, settings.chip, settings.step):
                window = (left, top, min(settings.chip, scene.width), min(settings.chip, scene.height))
                pixels, valid = _read(scene, window, scaling, max(1, min(window[2:]) // size))
                if valid < settings.min_valid:
                    continue
                found = True
                box = _box(scene, window) or known.box
                place = Place(box, known.datetime or time, known.sensor or sensor, known.gsd or _gsd(scene))
                yield Item(np.asarray(images.square(Image.fromarray(pixels), size)), window, place)
        if not found:
            raise IebakerError(f"no window has {100 * settings.min_valid:.0f}% valid pixels; lower --min-valid")


def open_window(file: BinaryIO, window: Window, settings: SceneSettings) -> Image.Image:
    """The picture of one window at the scene's own resolution.

    Raises:
        IebakerError: if the scene cannot be read.
    """
    with _opened(file) as scene:
        return Image.fromarray(_read(scene, window, _scaling(scene, settings), 1)[0])


def starts(length: int, chip: int, step: int) -> list[int]:
    """First pixels of windows along one side: every `step`, and one that ends with the scene."""
    last = max(0, length - chip)
    return sorted({*range(0, last + 1, step), last})


@contextmanager
def _opened(file: BinaryIO) -> Iterator[Any]:
    try:
        import rasterio
    except ImportError as error:
        raise IebakerError("a georeferenced scene needs rasterio: pip install 'iebaker[geo]'") from error
    try:
        if isinstance(name := getattr(file, "name", None), str):
            with rasterio.open(name) as scene:  # reads what is needed of a file
                yield scene
        else:
            with rasterio.MemoryFile(file.read()) as memory, memory.open() as scene:
                yield scene
    except rasterio.errors.RasterioError as error:
        raise IebakerError(f"not a readable scene: {' '.join(str(error).split())}") from error


def _bands(scene: Any, settings: SceneSettings) -> tuple[int, ...]:
    bands = settings.bands or ((1, 2, 3) if scene.count >= 3 else (1, 1, 1))
    if not all(1 <= band <= scene.count for band in bands):
        raise IebakerError(f"--bands {','.join(map(str, bands))}: the scene has bands 1 to {scene.count}")
    return bands


def _scaling(scene: Any, settings: SceneSettings) -> tuple[tuple[int, ...], np.ndarray | None]:
    """Bands, and per band the values that become 0 and 255; None for bytes that stay as they are."""
    bands = _bands(scene, settings)
    if settings.scale:
        return bands, np.array([settings.scale] * len(bands), np.float64)
    if all(scene.dtypes[band - 1] == "uint8" for band in bands):
        return bands, None
    shrink = max(1, max(scene.height, scene.width) // OVERVIEW)
    shape = max(1, scene.height // shrink), max(1, scene.width // shrink)
    values = scene.read(bands, out_shape=(len(bands), *shape)).astype(np.float64)
    valid = (scene.dataset_mask(out_shape=shape) > 0) & np.isfinite(values).all(axis=0)
    if not valid.any():
        raise IebakerError("it has no valid pixel")
    return bands, np.percentile(values[:, valid], PERCENTILES, axis=1).T


def _read(
    scene: Any, window: Window, scaling: tuple[tuple[int, ...], np.ndarray | None], shrink: int
) -> tuple[np.ndarray, float]:
    """(H, W, 3) uint8 of a window, both sides divided by `shrink`, and the share of its pixels that are valid."""
    from rasterio.enums import Resampling
    from rasterio.windows import Window as RasterWindow

    bands, limits = scaling
    shape = max(1, window[3] // shrink), max(1, window[2] // shrink)
    part = RasterWindow(*window)
    how = Resampling.average if shrink > 1 else Resampling.nearest
    values = scene.read(bands, window=part, out_shape=(len(bands), *shape), resampling=how)
    valid = scene.dataset_mask(window=part, out_shape=shape) > 0
    if limits is not None:
        finite = np.isfinite(values).all(axis=0)
        valid &= finite
        low, high = limits[:, 0, None, None], limits[:, 1, None, None]
        span = np.where(high > low, high - low, 1.0)
        values = np.where(finite, np.clip((values - low) / span, 0, 1) * 255, 0).round().astype(np.uint8)
    return np.ascontiguousarray(np.where(valid, values, 0).transpose(1, 2, 0).astype(np.uint8)), float(valid.mean())


def _box(scene: Any, window: Window) -> Box | None:
    """Bounding box in EPSG:4326, west > east across the antimeridian; None without coordinates."""
    from rasterio.warp import transform_bounds
    from rasterio.windows import Window as RasterWindow
    from rasterio.windows import bounds

    if scene.crs is None:
        return None
    edges = bounds(RasterWindow(*window), scene.transform)
    west, south, east, north = transform_bounds(scene.crs, "EPSG:4326", *edges, densify_pts=DENSIFY)
    return _wrapped(west), south, _wrapped(east), north


def _wrapped(longitude: float) -> float:
    return longitude if -180 <= longitude <= 180 else (longitude + 180) % 360 - 180


def _gsd(scene: Any) -> float | None:
    if scene.crs is None:
        return None
    size = (abs(scene.transform.a) ** 2 + abs(scene.transform.d) ** 2) ** 0.5
    return float(size * METRES_PER_DEGREE if scene.crs.is_geographic else size * scene.crs.linear_units_factor[1])


def _tags(scene: Any) -> tuple[datetime | None, str | None]:
    """Time and sensor as the file's tags give them."""
    tags = scene.tags()
    sensor = next((tags[name] for name in SENSOR_TAGS if tags.get(name)), None)
    for name in TIME_TAGS:
        text = tags.get(name, "").strip()
        for layout in ("%Y:%m:%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d"):
            try:
                return datetime.strptime(text, layout).replace(tzinfo=UTC), sensor
            except ValueError:
                continue
    return None, sensor
