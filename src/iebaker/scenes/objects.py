"""Things seen from above: trees, cars, houses, planes, boats, tanks, courts. All lengths in units of the frame."""

import math

from iebaker.scenes.canvas import Canvas, Colour
from iebaker.scenes.geometry import Box, Point, oval, rectangle

PAINT: dict[str, Colour] = {
    "white": (230, 230, 226),
    "grey": (146, 148, 150),
    "red": (172, 70, 58),
    "blue": (66, 108, 170),
    "green": (78, 134, 88),
    "brown": (134, 98, 72),
    "yellow": (214, 186, 88),
    "orange": (206, 122, 62),
    "black": (48, 48, 52),
}
CAR_PAINT = [PAINT[name] for name in ("white", "white", "grey", "black", "red", "blue")]
LEAVES: list[Colour] = [(52, 84, 46), (60, 94, 50), (46, 76, 48), (70, 98, 54)]


def tree(canvas: Canvas, x: float, y: float, radius: float, leaves: Colour | None = None) -> None:
    """A crown with its shadow and a sunlit side."""
    leaves = leaves or canvas.choose(LEAVES)
    sun_x, sun_y = canvas.sun
    canvas.disc(x + sun_x * radius * 0.6, y + sun_y * radius * 0.6, radius, (14, 20, 22), 120)
    canvas.disc(x, y, radius, canvas.jitter(leaves, 12, 5))
    lit = tuple(min(channel + 26, 255) for channel in leaves)
    canvas.disc(x - sun_x * radius * 0.3, y - sun_y * radius * 0.3, radius * 0.55, canvas.jitter(lit, 10, 4))


def grove(canvas: Canvas, box: Box, count: int, radius: float = 2.4) -> None:
    """Trees at random places of a box."""
    for _ in range(count):
        x, y = canvas.uniform(box.left, box.right), canvas.uniform(box.top, box.bottom)
        tree(canvas, x, y, radius * canvas.uniform(0.7, 1.25))


def car(canvas: Canvas, x: float, y: float, degrees: float, paint: Colour | None = None) -> None:
    paint = canvas.jitter(paint or canvas.choose(CAR_PAINT), 14, 6)
    canvas.shadow(rectangle(x, y, 3.0, 1.5, degrees), 0.7, 100)
    canvas.polygon(rectangle(x, y, 3.0, 1.5, degrees), paint)
    canvas.polygon(rectangle(x, y, 1.1, 1.2, degrees), tuple(channel * 2 // 3 for channel in paint))


def traffic(canvas: Canvas, start: Point, end: Point, count: int, offset: float = 1.2) -> None:
    """Cars along a straight road, in both lanes."""
    (x0, y0), (x1, y1) = start, end
    degrees = math.degrees(math.atan2(y1 - y0, x1 - x0))
    nx, ny = -math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    for index in range(count):
        at = (index + canvas.uniform(0.1, 0.9)) / count
        side = canvas.choose((-offset, offset))
        car(canvas, x0 + (x1 - x0) * at + nx * side, y0 + (y1 - y0) * at + ny * side, degrees)


def road(canvas: Canvas, points: list[Point], width: float = 5, cars: int = 0) -> None:
    """A paved road with pale shoulders and a broken centre line; cars drive on its first straight piece."""
    canvas.path(points, width + 1.2, canvas.jitter((172, 168, 156), 8))
    canvas.path(points, width, canvas.jitter((104, 105, 108), 10))
    canvas.dashes(points, 0.45, (214, 212, 200))
    if cars:
        traffic(canvas, points[0], points[1], cars, width / 4)


def house(canvas: Canvas, x: float, y: float, width: float, depth: float, degrees: float, roof: Colour) -> None:
    """A gabled roof: one slope in the light, one away from it."""
    outline = rectangle(x, y, width, depth, degrees)
    canvas.shadow(outline, 2.0)
    roof = canvas.jitter(roof, 12, 5)
    canvas.polygon(outline, roof)
    a, b, c, d = outline
    ridge = [((a[0] + d[0]) / 2, (a[1] + d[1]) / 2), ((b[0] + c[0]) / 2, (b[1] + c[1]) / 2)]
    dark = tuple(channel * 3 // 4 for channel in roof)
    canvas.polygon([a, b, ridge[1], ridge[0]] if canvas.sun[1] < 0 else [ridge[0], ridge[1], c, d], dark)


def building(
    canvas: Canvas, x: float, y: float, width: float, depth: float, roof: Colour, height: float = 3, degrees: float = 0
) -> None:
    """A flat roof with a parapet and some plant on it."""
    outline = rectangle(x, y, width, depth, degrees)
    canvas.shadow(outline, height)
    roof = canvas.jitter(roof, 10, 4)
    canvas.polygon(outline, tuple(min(channel + 22, 255) for channel in roof))
    canvas.polygon(rectangle(x, y, width - 1, depth - 1, degrees), roof)
    for _ in range(canvas.between(1, 3)):
        unit = canvas.uniform(0.8, 1.8)
        dx, dy = canvas.uniform(-0.35, 0.35) * width, canvas.uniform(-0.35, 0.35) * depth
        canvas.polygon(rectangle(x + dx, y + dy, unit, unit, degrees), tuple(channel * 3 // 4 for channel in roof))


def plane(canvas: Canvas, x: float, y: float, length: float, degrees: float, paint: Colour, tail: Colour) -> None:
    """An airliner whose nose points to `degrees`."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))

    def place(points: list[Point]) -> list[Point]:
        return [
            (x + length * (along * cosine - across * sine), y + length * (along * sine + across * cosine))
            for along, across in points
        ]

    wings = [(0.14, 0), (-0.16, 0.48), (-0.26, 0.48), (-0.08, 0), (-0.26, -0.48), (-0.16, -0.48)]
    stabiliser = [(-0.36, 0), (-0.48, 0.18), (-0.54, 0.18), (-0.46, 0), (-0.54, -0.18), (-0.48, -0.18)]
    body = [(0.52, 0), (0.42, 0.07), (-0.4, 0.06), (-0.52, 0), (-0.4, -0.06), (0.42, -0.07)]
    shift = 0.1
    for part in (wings, body, stabiliser):
        moved = [(px + canvas.sun[0] * shift * length, py + canvas.sun[1] * shift * length) for px, py in place(part)]
        canvas.polygon(moved, (20, 24, 32), 90)
    for part, colour in ((wings, tuple(max(c - 18, 0) for c in paint)), (stabiliser, tail), (body, paint)):
        canvas.polygon(place(part), colour)


def boat(canvas: Canvas, x: float, y: float, length: float, degrees: float, paint: Colour) -> None:
    """A boat whose bow points to `degrees`, with a cabin."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    hull = [(0.5, 0), (0.3, 0.14), (-0.5, 0.14), (-0.5, -0.14), (0.3, -0.14)]
    outline = [
        (x + length * (along * cosine - across * sine), y + length * (along * sine + across * cosine))
        for along, across in hull
    ]
    canvas.shadow(outline, 0.8, 90)
    canvas.polygon(outline, canvas.jitter(paint, 10, 4))
    cabin = rectangle(x - 0.12 * length * cosine, y - 0.12 * length * sine, 0.36 * length, 0.16 * length, degrees)
    canvas.polygon(cabin, tuple(channel * 3 // 4 for channel in paint))


def tank(canvas: Canvas, x: float, y: float, radius: float, paint: Colour) -> None:
    """A storage tank: a cylinder with a rim and a shaded roof."""
    canvas.shadow(oval(x, y, 2 * radius, 2 * radius), 0.6 * radius)
    paint = canvas.jitter(paint, 8, 3)
    canvas.disc(x, y, radius, tuple(max(channel - 40, 0) for channel in paint))
    canvas.disc(x, y, radius * 0.9, paint)
    canvas.disc(x, y, radius * 0.42, tuple(max(channel - 14, 0) for channel in paint))
    canvas.disc(x, y, radius * 0.12, tuple(max(channel - 60, 0) for channel in paint))


def court(canvas: Canvas, x: float, y: float, width: float, depth: float, paint: Colour, net: bool = True) -> None:
    """A tennis court, or without net a basketball court: coloured ground with white lines."""
    canvas.polygon(rectangle(x, y, width, depth), canvas.jitter(paint, 8, 3))
    inner_width, inner_depth, line = width * 0.74, depth * 0.74, 0.5
    white = (226, 226, 220)
    canvas.polygon(rectangle(x, y, inner_width, inner_depth), white)
    canvas.polygon(rectangle(x, y, inner_width - 2 * line, inner_depth - 2 * line), canvas.jitter(paint, 8, 3))
    if net:
        canvas.polygon(rectangle(x, y, line, inner_depth), white)
        canvas.polygon(rectangle(x, y, inner_width * 0.5, line), white)
    else:
        canvas.disc(x, y, inner_depth * 0.2, white)
        canvas.disc(x, y, inner_depth * 0.2 - line, paint)
        canvas.polygon(rectangle(x, y, line, inner_depth), white)


def football_pitch(canvas: Canvas, x: float, y: float, width: float, depth: float, degrees: float = 0) -> None:
    """Mown grass in stripes with white lines."""
    lawn = canvas.jitter((92, 142, 78), 8, 4)
    canvas.polygon(rectangle(x, y, width, depth, degrees), (220, 222, 214))
    canvas.polygon(rectangle(x, y, width - 0.9, depth - 0.9, degrees), lawn)
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    for index in range(0, 8, 2):
        along = (index - 3.5) / 8 * (width - 0.9)
        stripe = rectangle(x + along * cosine, y + along * sine, (width - 0.9) / 8, depth - 0.9, degrees)
        canvas.polygon(stripe, tuple(channel + 12 for channel in lawn))
    canvas.polygon(rectangle(x, y, 0.45, depth, degrees), (220, 222, 214))
    canvas.disc(x, y, depth * 0.17, (220, 222, 214))
    canvas.disc(x, y, depth * 0.17 - 0.45, lawn)
