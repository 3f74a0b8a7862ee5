"""Scenes of sport and leisure: each function draws one image and returns its facts."""

import math

from iebaker.scenes.canvas import Canvas, blob
from iebaker.scenes.geometry import Box, oval, rectangle
from iebaker.scenes.objects import PAINT, court, football_pitch, grove, tree
from iebaker.scenes.surroundings import add_neighbour, lay_ground
from iebaker.scenes.transport import NUMBERS, Facts

TRACKS = {"red": (178, 84, 66), "blue": (64, 104, 160), "grey": (132, 130, 128)}


def stadium(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "concrete", "bareland"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "river", "parking"))
    stand, roundness = canvas.choose(("white", "grey", "red", "blue")), canvas.choose((2, 5))
    x, y = box.centre
    width, depth = box.width * 0.94, box.height * 0.88
    if roundness == 2 and canvas.chance(0.5):
        width = depth = min(width, depth)
    shape = "rectangular" if roundness == 5 else "round" if width == depth else "oval"
    outline = oval(x, y, width, depth, 0, roundness)
    canvas.shadow(outline, 5)
    paint = PAINT[stand]
    for step, shade in enumerate((0, -26, 10, -18, 0)):
        shrink = 1 - step * 0.07
        ring = oval(x, y, width * shrink, depth * shrink, 0, roundness)
        canvas.polygon(ring, tuple(min(max(channel + shade, 0), 255) for channel in canvas.jitter(paint, 4)))
    for step in range(20):
        angle = step * math.pi / 10
        canvas.path(
            [(x, y), (x + width * 0.48 * math.cos(angle), y + depth * 0.48 * math.sin(angle))], 0.4, (70, 70, 74), 120
        )
    canvas.polygon(oval(x, y, width * 0.64, depth * 0.64, 0, roundness), canvas.jitter(TRACKS["red"], 6))
    football_pitch(canvas, x, y, width * 0.44, depth * 0.36)
    return {**facts, **neighbour, "stand": stand, "shape": shape}


def playground(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "concrete", "bareland"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "river", "building"))
    track, courts = canvas.choose(tuple(TRACKS)), canvas.between(0, 3)
    x, y = box.centre
    width, depth = box.width, box.height
    if courts:
        y -= 9
        depth -= 20
        for index in range(courts):
            at = box.left + box.width * (index + 0.5) / 3
            court(
                canvas,
                at,
                box.bottom - 6.5,
                box.width / 3 - 3,
                13,
                PAINT[canvas.choose(("blue", "green", "red"))],
                False,
            )
    canvas.polygon(oval(x, y, width, depth, 0, 3.2), canvas.jitter(TRACKS[track], 6))
    for shrink in (0.95, 0.9):
        canvas.polygon(oval(x, y, width * shrink, depth * shrink, 0, 3.2), (222, 216, 208))
        canvas.polygon(oval(x, y, width * shrink - 0.7, depth * shrink - 0.7, 0, 3.2), canvas.jitter(TRACKS[track], 6))
    canvas.cover(oval(x, y, width * 0.76, depth * 0.72, 0, 3.2), "lawn")
    football_pitch(canvas, x, y, width * 0.58, depth * 0.54)
    return {**facts, **neighbour, "track": track, **({"courts": NUMBERS[courts]} if courts else {})}


def baseballfield(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "drygrass", "concrete"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "bareland", "parking"))
    count = canvas.choose((1, 2, 4))
    infield = canvas.choose(("brown", "red"))
    x, y = box.centre
    half = {1: 0.47, 2: 0.3, 4: 0.25}[count] * min(box.width, box.height)
    spots: dict[int, list[tuple[float, float]]] = {
        1: [(0, 0)],
        2: [(-1, -0.3), (1, 0.3)],
        4: [(-1, -1), (1, -1), (-1, 1), (1, 1)],
    }
    for dx, dy in spots[count]:
        gap = half * 1.04
        home = canvas.choose((45, 135, 225, 315))
        _diamond(canvas, x + dx * gap, y + dy * gap, half, home, infield)
    return {**facts, **neighbour, "fields": NUMBERS[count], "infield": infield}


def _diamond(canvas: Canvas, x: float, y: float, half: float, heading: float, infield: str) -> None:
    """A baseball field whose outfield opens towards `heading`."""
    angle = math.radians(heading)
    home = (x - half * 0.85 * math.cos(angle), y - half * 0.85 * math.sin(angle))

    def fan(radius: float) -> list[tuple[float, float]]:
        arc = [math.radians(heading - 47 + step * 94 / 16) for step in range(17)]
        return [home, *((home[0] + radius * math.cos(a), home[1] + radius * math.sin(a)) for a in arc)]

    canvas.polygon(fan(half * 1.9), (186, 160, 122))
    canvas.cover(fan(half * 1.82), "lawn", 4)
    soil = {"brown": (168, 126, 88), "red": (178, 92, 66)}[infield]
    canvas.polygon(fan(half * 0.98), canvas.jitter(soil, 6))
    middle = (home[0] + half * 0.5 * math.cos(angle), home[1] + half * 0.5 * math.sin(angle))
    canvas.polygon(rectangle(*middle, half * 0.52, half * 0.52, heading + 45), (98, 142, 78))
    canvas.disc(*middle, max(half * 0.08, 0.8), soil)
    canvas.disc(*home, half * 0.15, soil)


def tenniscourt(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "concrete"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "parking", "building"))
    count, paint = canvas.choose((1, 2, 3, 4, 6)), canvas.choose(("blue", "green", "red"))
    columns = {1: 1, 2: 2, 3: 3, 4: 2, 6: 3}[count]
    rows = count // columns
    width, depth = min(26.0, box.width / columns), min(36.0, box.height / rows)
    x, y = box.centre
    canvas.polygon(rectangle(x, y, width * columns + 3, depth * rows + 3), canvas.jitter((150, 152, 146)))
    border = {"blue": "green", "green": "green", "red": "green"}[paint]
    canvas.polygon(rectangle(x, y, width * columns + 1, depth * rows + 1), canvas.jitter(PAINT[border], 8))
    for index in range(count):
        at_x = x + (index % columns - (columns - 1) / 2) * width
        at_y = y + (index // columns - (rows - 1) / 2) * depth
        _upright_court(canvas, at_x, at_y, width - 3, depth - 3, paint)
    return {**facts, **neighbour, "courts": NUMBERS[count], "paint": paint}


def _upright_court(canvas: Canvas, x: float, y: float, width: float, depth: float, paint: str) -> None:
    white = (230, 230, 224)
    inner = canvas.jitter({"blue": (58, 98, 168), "green": (66, 124, 92), "red": (176, 88, 66)}[paint], 6)
    canvas.polygon(rectangle(x, y, width, depth), inner)
    canvas.polygon(rectangle(x, y, width * 0.74, depth * 0.82), white)
    canvas.polygon(rectangle(x, y, width * 0.74 - 1.1, depth * 0.82 - 1.1), inner)
    canvas.polygon(rectangle(x, y, width * 0.74, 0.6), white)
    canvas.polygon(rectangle(x, y, 0.5, depth * 0.42), white)
    canvas.polygon(rectangle(x, y, width * 0.92, 0.7), (40, 44, 48))


def golfcourse(canvas: Canvas) -> Facts:
    canvas.ground("grass", -6)
    for _ in range(canvas.between(2, 4)):
        patch = blob(
            canvas, canvas.uniform(0, 96), canvas.uniform(0, 96), canvas.uniform(30, 70), canvas.uniform(20, 40)
        )
        canvas.cover(patch, "lawn", canvas.between(-4, 12))
    trees, pond, count = canvas.choose(("many", "few")), canvas.choose(("yes", "no")), canvas.between(1, 5)
    places = canvas.shuffled([(20, 22), (52, 18), (78, 40), (24, 54), (56, 52), (30, 80), (74, 76)])
    if pond == "yes":
        x, y = places.pop()
        shore = blob(canvas, x, y, canvas.uniform(22, 30), canvas.uniform(16, 22))
        canvas.path([*shore, shore[0]], 1.4, (150, 146, 112))
        canvas.cover(shore, canvas.choose(("blue water", "dark water")))
    x, y = places.pop()
    green = blob(canvas, x, y, 18, 15, 0.08)
    canvas.cover(green, "lawn", 26)
    canvas.disc(x, y, 0.8, (240, 240, 236))
    if trees == "many":
        for x, y in places[count:]:
            grove(canvas, Box(x - 9, y - 8, x + 9, y + 8), 16, 2.6)
        grove(canvas, Box(-10, -14, 106, 8), 40, 2.6)
    else:
        grove(canvas, Box(0, 0, 96, 10), 4, 2.4)
    for x, y in places[:count]:
        bunker = blob(
            canvas,
            x + canvas.uniform(-3, 3),
            y + canvas.uniform(-3, 3),
            canvas.uniform(9, 13),
            canvas.uniform(7, 10),
            0.2,
        )
        canvas.path([*bunker, bunker[0]], 1.2, (84, 120, 62))
        canvas.cover(bunker, "sand", 10)
    return {"trees": trees, "pond": pond, "bunkers": NUMBERS[count]}


def park(canvas: Canvas) -> Facts:
    facts = {"ground": "grass"}
    canvas.ground("grass")
    neighbour, box = add_neighbour(canvas, ("road", "houses", "river", "building", "parking"))
    middle, trees = canvas.choose(("pond", "square", "lawn")), canvas.choose(("many", "few"))
    x, y = box.centre
    path = canvas.choose(("white", "red"))
    paint = {"white": (206, 200, 186), "red": (176, 112, 88)}[path]
    for dx, dy in ((1, 1), (1, -1)):
        ends = [
            (x - dx * box.width * 0.5, y - dy * box.height * 0.5),
            (x + dx * box.width * 0.5, y + dy * box.height * 0.5),
        ]
        canvas.path(ends, 2.4, paint)
    ring = oval(x, y, box.width * 0.62, box.height * 0.62)
    canvas.path([*ring, ring[0]], 2.4, paint)
    if trees == "many":
        for dx, dy in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            px, py = x + dx * box.width * 0.41, y + dy * box.height * 0.41
            grove(canvas, Box(px - 9, py - 9, px + 9, py + 9), 22, 2.4)
    else:
        for _ in range(5):
            tree(canvas, canvas.uniform(box.left, box.right), canvas.uniform(box.top, box.bottom), 2.2)
    if middle == "pond":
        shore = blob(canvas, x, y, box.width * 0.44, box.height * 0.4, 0.1)
        canvas.cover(shore, canvas.choose(("green water", "blue water")))
    elif middle == "square":
        canvas.cover(rectangle(x, y, box.width * 0.34, box.height * 0.34), "concrete", 24)
        canvas.disc(x, y, 3.4, (150, 144, 132))
    else:
        canvas.cover(oval(x, y, box.width * 0.44, box.height * 0.44), "lawn", 12)
    return {**facts, **neighbour, "middle": middle, "trees": trees, "path": path}
