"""Shapes in units: a scene is drawn in a frame of 96 x 96 units, x to the right and y downwards."""

import math
from collections.abc import Sequence
from typing import NamedTuple

FRAME = 96.0

Point = tuple[float, float]


class Box(NamedTuple):
    """An upright rectangle in units."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        return self.right - self.left

    @property
    def height(self) -> float:
        return self.bottom - self.top

    @property
    def centre(self) -> Point:
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def inset(self, margin: float) -> "Box":
        """The box with `margin` units less on every side."""
        return Box(self.left + margin, self.top + margin, self.right - margin, self.bottom - margin)


EVERYTHING = Box(-24, -24, FRAME + 24, FRAME + 24)


def rectangle(x: float, y: float, width: float, height: float, degrees: float = 0) -> list[Point]:
    """The corners of a rectangle about its centre (x, y), turned by `degrees`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    halves = [(-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2)]
    return [(x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in halves]


def corners(box: Box) -> list[Point]:
    return rectangle(*box.centre, box.width, box.height)


def oval(x: float, y: float, width: float, height: float, degrees: float = 0, roundness: float = 2) -> list[Point]:
    """A superellipse about (x, y): an ellipse at roundness 2, nearing a rectangle above."""
    turn = (math.cos(math.radians(degrees)), math.sin(math.radians(degrees)))
    points = []
    for step in range(40):
        cosine, sine = math.cos(step * math.pi / 20), math.sin(step * math.pi / 20)
        dx = math.copysign(abs(cosine) ** (2 / roundness), cosine) * width / 2
        dy = math.copysign(abs(sine) ** (2 / roundness), sine) * height / 2
        points.append((x + dx * turn[0] - dy * turn[1], y + dx * turn[1] + dy * turn[0]))
    return points


def curve(points: Sequence[Point], steps: int = 8) -> list[Point]:
    """A smooth polyline through all points (Catmull-Rom)."""
    padded = [points[0], *points, points[-1]]
    result = []
    for (ax, ay), (bx, by), (cx, cy), (dx, dy) in zip(padded, padded[1:], padded[2:], padded[3:], strict=False):
        for t in (step / steps for step in range(steps)):
            near, far = -t + 2 * t * t - t**3, -t * t + t**3
            here, there = 2 - 5 * t * t + 3 * t**3, t + 4 * t * t - 3 * t**3
            x = (near * ax + here * bx + there * cx + far * dx) / 2
            y = (near * ay + here * by + there * cy + far * dy) / 2
            result.append((x, y))
    return [*result, points[-1]]


def strip(points: Sequence[Point], width: float) -> list[Point]:
    """The outline of a band of the given width along a polyline."""
    left, right = [], []
    for index, (x, y) in enumerate(points):
        (x0, y0), (x1, y1) = points[max(index - 1, 0)], points[min(index + 1, len(points) - 1)]
        length = math.hypot(x1 - x0, y1 - y0) or 1.0
        nx, ny = (y0 - y1) / length * width / 2, (x1 - x0) / length * width / 2
        left.append((x + nx, y + ny))
        right.append((x - nx, y - ny))
    return left + right[::-1]


def convex_hull(points: Sequence[Point]) -> list[Point]:
    """The corners of the convex hull, in order (Andrew's monotone chain)."""

    def half(ordered: list[Point]) -> list[Point]:
        chain: list[Point] = []
        for x, y in ordered:
            while len(chain) > 1:
                (ax, ay), (bx, by) = chain[-2:]
                if (bx - ax) * (y - ay) - (by - ay) * (x - ax) > 0:
                    break
                chain.pop()
            chain.append((x, y))
        return chain[:-1]

    ordered = sorted(points)
    return half(ordered) + half(ordered[::-1])
