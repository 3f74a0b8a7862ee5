"""A drawing board for overhead scenes: flat shapes, ground textures and shadows, seen through some air.

Scenes are drawn in a frame of 96 x 96 units (x to the right, y downwards), slightly rotated, at `SUPERSAMPLING` times
the wanted resolution, and averaged by whole numbers. Vertices are rounded to whole pixels and no filter of Pillow is
used, so that the pixels depend on the seed only.
"""

import math
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageDraw

from iebaker.scenes.geometry import FRAME, Point, convex_hull, strip

SUPERSAMPLING = 4
TEXTURE_SEED = 20240501

Colour = tuple[int, ...]  # red, green, blue
Choice = TypeVar("Choice")


class Material(NamedTuple):
    """How a surface looks from above: mean colour, the noise on it, and how strong the noise is."""

    colour: Colour
    texture: str
    strength: float


MATERIALS = {
    "grass": Material((92, 122, 68), "meadow", 17),
    "drygrass": Material((158, 146, 92), "meadow", 16),
    "bareland": Material((160, 122, 92), "soil", 18),
    "lawn": Material((104, 146, 78), "fine", 8),
    "forest": Material((48, 74, 46), "meadow", 16),
    "sand": Material((216, 198, 156), "soil", 11),
    "desert": Material((206, 164, 110), "dunes", 20),
    "concrete": Material((164, 162, 154), "fine", 8),
    "asphalt": Material((98, 99, 102), "fine", 7),
    "blue water": Material((52, 94, 132), "waves", 9),
    "green water": Material((70, 108, 84), "waves", 8),
    "brown water": Material((142, 118, 82), "waves", 8),
    "dark water": Material((30, 44, 54), "waves", 6),
    "snow": Material((228, 232, 238), "meadow", 10),
    "rock": Material((122, 108, 94), "soil", 24),
}


def _stretch(grid: np.ndarray, size: int) -> np.ndarray:
    """Bilinear, periodic enlargement of a (rows, columns) grid to (size, size)."""
    for axis in (0, 1):
        count = grid.shape[axis]
        position = np.arange(size) * (count / size)
        first = position.astype(np.int64)
        share = (position - first).reshape((-1, 1) if axis == 0 else (1, -1))
        grid = grid.take(first, axis) * (1 - share) + grid.take((first + 1) % count, axis) * share
    return grid


@cache
def _noise(texture: str, size: int) -> np.ndarray:
    """A (size, size) sheet of noise of about unit deviation, the same in every run."""
    octaves = {  # (rows, columns, weight) of the random grids that are summed
        "fine": [(6, 6, 0.5), (96, 96, 0.7)],
        "meadow": [(5, 5, 0.6), (14, 14, 0.6), (48, 48, 0.5), (128, 128, 0.7)],
        "soil": [(4, 4, 0.6), (20, 20, 0.6), (64, 64, 0.6), (128, 128, 0.5)],
        "waves": [(5, 5, 0.6), (90, 24, 0.6), (128, 128, 0.3)],
        "dunes": [(4, 4, 0.5), (34, 9, 0.9), (128, 128, 0.4)],
    }[texture]
    generator = np.random.Generator(np.random.PCG64([TEXTURE_SEED, len(texture), octaves[-1][0], octaves[0][0]]))
    grids = [weight * _stretch(generator.random((rows, columns)) - 0.5, size) for rows, columns, weight in octaves]
    total: np.ndarray = sum(grids[1:], grids[0])
    return (total * (1 / math.sqrt(sum(weight**2 for *_, weight in octaves) / 16))).astype(np.float32)


def clamp(value: int) -> int:
    return min(max(value, 0), 255)


class Canvas:
    """One scene in the making. `generator` is the only source of chance; `size` is the side of the result in pixels."""

    def __init__(self, size: int, generator: np.random.Generator):
        self.size = size
        self.generator = generator
        self.scale = size * SUPERSAMPLING / FRAME
        self._shadows_towards = self.uniform(0, 360)
        self.rotate(self.uniform(-7, 7))
        side = size * SUPERSAMPLING
        self.image = Image.new("RGB", (side, side))
        self.pen = ImageDraw.Draw(self.image, "RGBA")

    # chance

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.generator.random())

    def between(self, low: int, high: int) -> int:
        """A whole number, both ends included."""
        return int(self.generator.integers(low, high + 1))

    def chance(self, probability: float) -> bool:
        return float(self.generator.random()) < probability

    def choose(self, options: Sequence[Choice]) -> Choice:
        return options[int(self.generator.integers(len(options)))]

    def shuffled(self, options: Sequence[Choice]) -> list[Choice]:
        keys = self.generator.random(len(options))
        return [options[index] for index in np.argsort(keys, kind="stable")]

    def jitter(self, colour: Colour, brightness: int = 12, hue: int = 4) -> Colour:
        """The colour, a little brighter or darker and a little off."""
        light = self.between(-brightness, brightness)
        red, green, blue = self.generator.integers(light - hue, light + hue + 1, 3).tolist()
        return clamp(colour[0] + red), clamp(colour[1] + green), clamp(colour[2] + blue)

    # geometry

    def rotate(self, degrees: float) -> None:
        """Everything drawn from now on is turned by `degrees` about the centre."""
        self.cosine, self.sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        # the sun does not turn with the frame
        heading = math.radians(self._shadows_towards - degrees)
        self.sun = (math.cos(heading), math.sin(heading))

    def _pixels(self, points: Sequence[Point]) -> list[tuple[int, int]]:
        middle, cosine, sine, scale = FRAME / 2, self.cosine, self.sine, self.scale
        return [
            (
                round((middle + (x - middle) * cosine - (y - middle) * sine) * scale),
                round((middle + (x - middle) * sine + (y - middle) * cosine) * scale),
            )
            for x, y in points
        ]

    # drawing

    def polygon(self, points: Sequence[Point], colour: Colour, opacity: int = 255) -> None:
        self.pen.polygon(self._pixels(points), fill=(*colour, opacity))

    def disc(self, x: float, y: float, radius: float, colour: Colour, opacity: int = 255) -> None:
        ((x, y),), radius = self._pixels([(x, y)]), max(1, round(radius * self.scale))
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, opacity))

    def path(self, points: Sequence[Point], width: float, colour: Colour, opacity: int = 255) -> None:
        """A strip of the given width along a polyline."""
        self.polygon(strip(points, width), colour, opacity)

    def dashes(self, points: Sequence[Point], width: float, colour: Colour, on: float = 3, off: float = 3) -> None:
        """A dashed line along the straight pieces of a polyline."""
        for (x0, y0), (x1, y1) in pairwise(points):
            length = math.hypot(x1 - x0, y1 - y0)
            for start in np.arange(0, length, on + off).tolist():
                ends = [(x0 + (x1 - x0) * at / length, y0 + (y1 - y0) * at / length) for at in (start, start + on)]
                self.path(ends, width, colour)

    def cover(self, points: Sequence[Point], material: str, shade: int = 0) -> None:
        """Fills a polygon with a textured material; `shade` brightens or darkens it."""
        mask = Image.new("L", self.image.size)
        ImageDraw.Draw(mask).polygon(self._pixels(points), fill=255)
        box = mask.getbbox()
        if box:
            left, top = (edge - edge % SUPERSAMPLING for edge in box[:2])
            texture = self._texture(material, shade, (left, top, *box[2:]))
            self.image.paste(texture, (left, top), mask.crop((left, top, left + texture.width, top + texture.height)))

    def ground(self, material: str, shade: int = 0) -> None:
        """Covers the whole image with a material."""
        self.image.paste(self._texture(material, shade, (0, 0, *self.image.size)))

    def shadow(self, points: Sequence[Point], height: float, opacity: int = 110) -> None:
        """The shadow on the ground of a convex prism of `height` units that stands on `points`."""
        dx, dy = self.sun[0] * height, self.sun[1] * height
        self.polygon(convex_hull([*points, *((x + dx, y + dy) for x, y in points)]), (16, 20, 30), opacity)

    def _texture(self, material: str, shade: int, box: tuple[int, int, int, int]) -> Image.Image:
        """A textured patch for the pixels of `box`, in whole pixels of the finished image."""
        colour, texture, strength = MATERIALS[material]
        sheet = _noise(texture, 2 * self.size)
        row, column = self.generator.integers(0, self.size + 1, 2).tolist()
        left, top, right, bottom = box[0] // SUPERSAMPLING, box[1] // SUPERSAMPLING, box[2], box[3]
        right, bottom = -(-right // SUPERSAMPLING), -(-bottom // SUPERSAMPLING)
        if texture in ("waves", "dunes") and self.chance(0.5):
            sheet = sheet.T
        window = sheet[row + top : row + bottom, column + left : column + right]
        base = np.array(self.jitter(colour, 8, 4), np.float32) + shade
        pixels = base + (window * np.float32(strength))[:, :, None] * np.array([1.0, 0.95, 0.8], np.float32)
        patch = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
        # every pixel four times: a copy, no interpolation
        return patch.resize((patch.width * SUPERSAMPLING, patch.height * SUPERSAMPLING), Image.Resampling.NEAREST)

    def develop(self) -> np.ndarray:
        """The finished image, (size, size, 3) uint8: averaged down, then light, haze and sensor noise."""
        fine = np.asarray(self.image).astype(np.uint16)
        rows = sum((fine[offset::SUPERSAMPLING] for offset in range(1, SUPERSAMPLING)), fine[::SUPERSAMPLING])
        total = sum((rows[:, offset::SUPERSAMPLING] for offset in range(1, SUPERSAMPLING)), rows[:, ::SUPERSAMPLING])
        pixels = total.astype(np.float32) / np.float32(SUPERSAMPLING**2)
        light = np.array([self.uniform(0.96, 1.04) for _ in range(3)], np.float32) * np.float32(
            self.uniform(0.82, 1.12)
        )
        slope = np.linspace(-1, 1, self.size, dtype=np.float32) * np.float32(self.uniform(-0.07, 0.07))
        haze = np.float32(self.uniform(0, 0.2) ** 1.3)
        pixels = pixels * light * (1 + slope if self.chance(0.5) else 1 + slope[:, None])[..., None]
        pixels = pixels * (1 - haze) + np.array([196, 204, 212], np.float32) * haze
        grain = self.generator.integers(-4, 5, (self.size, self.size, 1)) + self.generator.integers(-2, 3, pixels.shape)
        developed: np.ndarray = np.clip(np.rint(pixels) + grain, 0, 255).astype(np.uint8)
        return developed


def blob(canvas: Canvas, x: float, y: float, width: float, height: float, wobble: float = 0.14) -> list[Point]:
    """A smooth irregular outline about (x, y)."""
    waves = [(order, canvas.uniform(0, wobble / order * 2), canvas.uniform(0, 2 * math.pi)) for order in (2, 3, 4)]
    points = []
    for step in range(48):
        angle = step * math.pi / 24
        radius = 1 + sum(size * math.cos(order * angle + phase) for order, size, phase in waves)
        points.append((x + radius * width / 2 * math.cos(angle), y + radius * height / 2 * math.sin(angle)))
    return points
