"""What a scene stands on and what lies beside it: facts that every man-made class shares.

`ground` is the surface around the main objects, `near` the neighbour, `side` where the neighbour lies.
"""

from iebaker.scenes.canvas import Canvas
from iebaker.scenes.geometry import EVERYTHING, FRAME, Box, Point, corners, curve, strip
from iebaker.scenes.objects import PAINT, building, car, grove, house, road, tree

NEIGHBOURS = ("road", "trees", "river", "houses", "bareland", "farmland", "railway", "parking", "building")
SIDES = ("left", "right", "top", "bottom")
GROUNDS = ("grass", "bareland", "drygrass", "concrete")


def lay_ground(canvas: Canvas, options: tuple[str, ...] = GROUNDS) -> dict[str, str]:
    """Covers the image with one of the grounds; a few scattered trees or spots make it less even."""
    ground = canvas.choose(options)
    canvas.ground(ground)
    return {"ground": ground}


def band(side: str, depth: float, inner: float = -24.0) -> Box:
    """The box along one edge of the image, from `inner` units to `depth` units inside that edge."""
    far = FRAME + 24
    return {
        "left": Box(inner, -24, depth, far),
        "right": Box(FRAME - depth, -24, FRAME - inner, far),
        "top": Box(-24, inner, far, depth),
        "bottom": Box(-24, FRAME - depth, far, FRAME - inner),
    }[side]


def remaining(side: str, depth: float, margin: float = 5) -> Box:
    """What a band of `depth` units leaves free, less a margin."""
    box = {
        "left": Box(depth, 0, FRAME, FRAME),
        "right": Box(0, 0, FRAME - depth, FRAME),
        "top": Box(0, depth, FRAME, FRAME),
        "bottom": Box(0, 0, FRAME, FRAME - depth),
    }[side]
    return box.inset(margin)


def axis(box: Box) -> list[Point]:
    """The long middle line of a band."""
    x, y = box.centre
    return [(x, box.top), (x, box.bottom)] if box.height > box.width else [(box.left, y), (box.right, y)]


def add_neighbour(
    canvas: Canvas, options: tuple[str, ...] = NEIGHBOURS, sides: tuple[str, ...] = SIDES
) -> tuple[dict[str, str], Box]:
    """Draws a neighbour along one side; returns its facts and the box that is left for the main objects."""
    near, side = canvas.choose(options), canvas.choose(sides)
    depth = canvas.uniform(17, 23)
    DRAW[near](canvas, side, depth)
    return {"near": near, "side": side}, remaining(side, depth)


def _road(canvas: Canvas, side: str, depth: float) -> None:
    road(canvas, axis(band(side, depth, depth - 12)), canvas.uniform(6, 8), canvas.between(3, 7))


def _trees(canvas: Canvas, side: str, depth: float) -> None:
    canvas.cover(corners(band(side, depth - 5)), "forest")
    box = band(side, depth - 1, -2)
    grove(canvas, box, 70, 2.9)


def _river(canvas: Canvas, side: str, depth: float) -> None:
    box = band(side, depth - 2)
    start, end = axis(band(side, depth - 2, -40))
    middle = [
        (start[0] + (end[0] - start[0]) * at, start[1] + (end[1] - start[1]) * at) for at in (0, 0.3, 0.5, 0.7, 1)
    ]
    shift = canvas.uniform(-2, 2)
    turn = [
        (x + (shift if box.height > box.width else 0), y + (0 if box.height > box.width else shift)) for x, y in middle
    ]
    bend = curve([middle[0], turn[1], middle[2], turn[3], middle[4]])
    width = min(box.width, box.height) + 16
    canvas.path(bend, width + 2, canvas.jitter((150, 140, 108), 8))
    canvas.cover(strip(bend, width), canvas.choose(("green water", "blue water")))


def _houses(canvas: Canvas, side: str, depth: float) -> None:
    (x0, y0), (x1, y1) = axis(band(side, depth - 2, 2))
    roof = PAINT[canvas.choose(("red", "grey", "brown"))]
    degrees = 90 if x0 == x1 else 0
    for index in range(14):
        at = (index + 0.5) / 14
        x, y = x0 + (x1 - x0) * at, y0 + (y1 - y0) * at
        house(canvas, x, y, 7.5, canvas.uniform(6.5, 8.5), degrees, roof)


def _bareland(canvas: Canvas, side: str, depth: float) -> None:
    canvas.cover(corners(band(side, depth)), "bareland", canvas.between(-6, 14))


def _farmland(canvas: Canvas, side: str, depth: float) -> None:
    box = band(side, depth)
    upright = box.height > box.width
    canvas.cover(corners(box), "lawn")
    start, end = (box.top, box.bottom) if upright else (box.left, box.right)
    crops = ["grass", "drygrass", "lawn", "forest"]
    while start < end:
        step = canvas.uniform(9, 16)
        piece = (
            Box(box.left, start, box.right, start + step) if upright else Box(start, box.top, start + step, box.bottom)
        )
        canvas.cover(corners(piece), canvas.choose(crops), 10)
        start += step


def _railway(canvas: Canvas, side: str, depth: float) -> None:
    canvas.cover(corners(band(side, depth - 2, depth - 15)), "rock")
    for offset in (5.0, 9.0, 13.0):
        rails(canvas, axis(band(side, depth - offset + 1, depth - offset - 1)))


def _parking(canvas: Canvas, side: str, depth: float) -> None:
    box = band(side, depth - 1, -4)
    canvas.cover(corners(band(side, depth)), "asphalt")
    upright = box.height > box.width
    for row in range(4):
        offset = 2.6 + row * 6
        for step in range(36):
            if canvas.chance(0.8):
                along = -6 + step * 3.1
                spot = (box.left + offset, along) if upright else (along, box.top + offset)
                car(canvas, *spot, 0 if upright else 90)


def _buildings(canvas: Canvas, side: str, depth: float) -> None:
    (x0, y0), (x1, _) = axis(band(side, depth - 3, 1))
    roof = PAINT[canvas.choose(("grey", "white", "brown"))]
    upright = x0 == x1
    for step in range(-2, 3):
        spot: tuple[float, float] = (x0, 48 + step * 27) if upright else (48 + step * 27, y0)
        building(canvas, *spot, 13 if upright else 22, 22 if upright else 13, roof, 3.5)


def rails(canvas: Canvas, points: list[Point]) -> None:
    """One railway track: sleepers and two rails, as fine as the resolution allows."""
    canvas.path(points, 1.9, canvas.jitter((104, 92, 82), 5))
    canvas.path(points, 1.2, (176, 172, 166))
    canvas.path(points, 0.7, (92, 84, 78))


def sprinkle(canvas: Canvas, box: Box = EVERYTHING, count: int = 6) -> None:
    """A few lone trees: distractors that no caption mentions."""
    for _ in range(canvas.between(0, count)):
        tree(canvas, canvas.uniform(box.left, box.right), canvas.uniform(box.top, box.bottom), canvas.uniform(1, 2))


DRAW = {
    "road": _road,
    "trees": _trees,
    "river": _river,
    "houses": _houses,
    "bareland": _bareland,
    "farmland": _farmland,
    "railway": _railway,
    "parking": _parking,
    "building": _buildings,
}
