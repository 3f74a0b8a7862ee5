"""Scenes of land and water: each function draws one image and returns its facts."""

import math

from iebaker.scenes.canvas import Canvas, blob
from iebaker.scenes.geometry import EVERYTHING, FRAME, Box, corners, curve, strip
from iebaker.scenes.objects import PAINT, boat, grove, house, road, tree
from iebaker.scenes.surroundings import band
from iebaker.scenes.transport import NUMBERS, Facts

CROPS = {"green": ("grass", "lawn", "forest"), "yellow": ("drygrass", "desert", "sand"), "brown": ("bareland", "rock")}


def farmland(canvas: Canvas) -> Facts:
    canvas.rotate(canvas.uniform(-35, 35))
    colour, mixed = canvas.choose(tuple(CROPS)), canvas.choose(("yes", "no"))
    shape = canvas.choose(("strips", "squares", "circles"))
    kinds = CROPS[colour] + (sum(CROPS.values(), ()) if mixed == "yes" else ())
    canvas.ground(CROPS[colour][0])
    size = {"strips": (15, 150), "squares": (27, 27), "circles": (44, 44)}[shape]
    x = -26.0
    while x < 122:
        width, y = size[0] * canvas.uniform(0.85, 1.15), -26.0
        while y < 122:
            height = size[1] * (1 if shape == "circles" else canvas.uniform(0.85, 1.15))
            material, shade = canvas.choose(kinds), canvas.between(-10, 18)
            if shape == "circles":
                _furrows(canvas, x + 22, y + 22, 20, material, shade)
                width = 44.0
            else:
                canvas.cover(corners(Box(x, y, x + width, y + height)), material, shade)
                canvas.path([(x, y), (x, y + height)], 0.7, (120, 112, 84))
                canvas.path([(x, y), (x + width, y)], 0.7, (120, 112, 84))
            y += height
        x += width
    crossing = canvas.choose(("road", "none", "houses"))
    at = canvas.uniform(30, 66)
    if crossing == "road":
        road(
            canvas, [(at, -40), (at, 136)] if canvas.chance(0.5) else [(-40, at), (136, at)], 5.5, canvas.between(0, 4)
        )
    if crossing == "houses":
        x, y = canvas.uniform(30, 66), canvas.uniform(30, 66)
        grove(canvas, Box(x - 12, y - 12, x + 12, y + 12), 10, 2.2)
        for dx, dy in ((-6, -5), (6, -4), (0, 6)):
            house(canvas, x + dx, y + dy, 9, 7, canvas.choose((0, 90)), PAINT["red"])
    facts = {"colour": colour, "mixed": mixed, "shape": shape}
    return facts if crossing == "none" else {**facts, "crossing": crossing}


def _furrows(canvas: Canvas, x: float, y: float, radius: float, material: str, shade: int) -> None:
    """A field under a centre pivot, with the pivot's arm."""
    ring = [(x + radius * math.cos(a * math.pi / 16), y + radius * math.sin(a * math.pi / 16)) for a in range(32)]
    canvas.cover(ring, material, shade)
    angle = canvas.uniform(0, 2 * math.pi)
    canvas.path([(x, y), (x + radius * math.cos(angle), y + radius * math.sin(angle))], 0.6, (206, 202, 186))


def river(canvas: Canvas) -> Facts:
    canvas.rotate(canvas.choose((0, 45, 90, 135)) + canvas.uniform(-10, 10))
    water, bank = (
        canvas.choose(("blue", "green", "brown", "dark")),
        canvas.choose(("forest", "grass", "bareland", "farmland", "houses")),
    )
    bend = canvas.choose(("straight", "curved"))
    canvas.ground({"farmland": "lawn", "houses": "grass"}.get(bank, bank))
    sway = canvas.uniform(12, 19) * canvas.choose((-1, 1)) if bend == "curved" else canvas.uniform(-2, 2)
    phase, period = canvas.uniform(0, 2 * math.pi), canvas.uniform(62, 88)
    bed = [(48 + sway * math.sin(phase + 2 * math.pi * y / period), float(y)) for y in range(-34, 131, 3)]
    width = canvas.uniform(11, 17) if bend == "curved" else canvas.uniform(15, 28)
    if bank == "farmland":
        for index in range(10):
            y = -24 + index * 14.5
            canvas.cover(
                corners(Box(-30, y, 126, y + 14.5)), canvas.choose(("grass", "drygrass", "bareland", "lawn")), 8
            )
    canvas.path(bed, width + 4, canvas.jitter((168, 154, 118), 10))
    canvas.cover(strip(bed, width), f"{water} water")
    for x0, x1 in ((-20, 30), (66, 116)):
        if bank == "forest":
            grove(canvas, Box(x0, -20, x1 + (-8 if x0 < 0 else 0), 116), 75, 2.8)
        elif bank == "houses":
            for _ in range(26):
                x, y = (
                    canvas.uniform(x0 - 4, x1 - 8) if x0 < 0 else canvas.uniform(x0 + 8, x1),
                    canvas.uniform(-20, 116),
                )
                house(canvas, x, y, 9, 7, canvas.choose((0, 90)), PAINT[canvas.choose(("red", "grey"))])
    count = canvas.choose((0, 0, 1, 2))
    for index in range(count):
        x, y = bed[len(bed) * (2 * index + 3) // 8]
        boat(canvas, x, y, 8, 90 + canvas.uniform(-12, 12), PAINT["white"])
    facts = {"water": water, "bank": bank, "bend": bend}
    return {**facts, "boats": NUMBERS[count]} if count else facts


def beach(canvas: Canvas) -> Facts:
    water, side = canvas.choose(("blue", "green")), canvas.choose(("left", "right", "top", "bottom"))
    sand, waves = canvas.choose(("white", "yellow")), canvas.choose(("many", "few"))
    behind, people = canvas.choose(("trees", "buildings", "road", "rock")), canvas.choose(("many", "no"))
    canvas.ground("sand" if sand == "white" else "desert", 16 if sand == "white" else 4)
    sea, back = canvas.uniform(38, 48), canvas.uniform(20, 26)
    opposite = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}[side]
    land = band(opposite, back)
    canvas.cover(corners(land), {"trees": "forest", "buildings": "concrete", "road": "grass", "rock": "rock"}[behind])
    if behind == "trees":
        grove(canvas, band(opposite, back - 1, -2), 60, 2.7)
    elif behind == "road":
        x, y = band(opposite, back - 4, 4).centre
        upright = side in ("left", "right")
        road(canvas, [(x, -30), (x, 126)] if upright else [(-30, y), (126, y)], 6, 8)
    elif behind == "buildings":
        for index in range(9):
            x, y = band(opposite, back - 3, 3).centre
            spot: tuple[float, float] = (x, index * 12) if side in ("left", "right") else (index * 12, y)
            house(canvas, *spot, 10, 10, 0, PAINT[canvas.choose(("white", "red"))])
    phase = canvas.uniform(0, 6)
    for offset, colour in (
        (2.2, (176, 160, 124)),
        (1.0, (238, 240, 236)),
        (-1.4, None),
        (-6, (222, 232, 232)),
        (-7.4, None),
    ):
        shore = [(_along(step), sea + offset + 2.2 * math.sin(step * 0.55 + phase)) for step in range(40)]
        if offset == -6 and waves == "few":
            continue
        outline = [(y, x) for x, y in [*shore, (130, -40), (-34, -40)]]
        outline = [_facing(point, side) for point in outline]
        if colour:
            canvas.polygon(outline, colour)
        else:
            canvas.cover(outline, f"{water} water", 26 if offset > -2 else 10)
    deep = [_facing((y, x), side) for x, y in ((-34, sea - 17), (130, sea - 17), (130, -40), (-34, -40))]
    canvas.cover(deep, f"{water} water")
    if people == "many":
        for _ in range(22):
            spot = _facing((canvas.uniform(sea + 7, FRAME - back - 3), canvas.uniform(0, 96)), side)
            canvas.disc(*spot, 1.1, PAINT[canvas.choose(("red", "blue", "white", "yellow", "orange"))])
    return {"water": water, "side": side, "sand": sand, "waves": waves, "behind": behind, "people": people}


def _along(step: int) -> float:
    return -34 + step * 4.2


def _facing(point: tuple[float, float], side: str) -> tuple[float, float]:
    """Turns a point of a scene whose sea is on the left so that the sea lies on `side`."""
    x, y = point
    return {"left": (x, y), "right": (FRAME - x, y), "top": (y, x), "bottom": (y, FRAME - x)}[side]


def forest(canvas: Canvas) -> Facts:
    season, feature = (
        canvas.choose(("green", "dark", "yellow")),
        canvas.choose(("none", "road", "clearing", "pond", "river")),
    )
    canvas.ground("forest" if season != "yellow" else "drygrass", -14 if season == "dark" else 0)
    leaves = {
        "green": [(62, 100, 52), (72, 110, 58), (54, 92, 50)],
        "dark": [(34, 58, 40), (40, 66, 44), (30, 52, 40)],
        "yellow": [(164, 136, 62), (146, 124, 60), (176, 128, 56)],
    }[season]
    for _ in range(250):
        tree(canvas, canvas.uniform(-6, 102), canvas.uniform(-6, 102), canvas.uniform(2.2, 4.2), canvas.choose(leaves))
    canvas.rotate(canvas.uniform(0, 180))
    x, y = canvas.uniform(34, 62), canvas.uniform(34, 62)
    wave = curve([(-40, y), (10, y + canvas.uniform(-16, 16)), (60, y + canvas.uniform(-16, 16)), (136, y)])
    if feature == "road":
        canvas.path(wave, 6, canvas.jitter((170, 160, 138)))
        canvas.path(wave, 4, canvas.jitter((128, 124, 118)))
    elif feature == "river":
        canvas.cover(strip(wave, canvas.uniform(9, 13)), canvas.choose(("blue water", "green water")))
    elif feature != "none":
        shape = blob(canvas, x, y, canvas.uniform(30, 42), canvas.uniform(24, 36))
        canvas.cover(shape, "bareland" if feature == "clearing" else "blue water")
    facts = {"season": season}
    return facts if feature == "none" else {**facts, "feature": feature}


def desert(canvas: Canvas) -> Facts:
    colour, feature = canvas.choose(("yellow", "orange", "white")), canvas.choose(("dunes", "bushes", "road", "rocks"))
    shade = {"yellow": 6, "orange": -18, "white": 10}[colour]
    canvas.ground("sand" if colour == "white" else "desert", shade)
    if colour == "orange":
        canvas.polygon(corners(EVERYTHING), (196, 106, 52), 110)
    canvas.rotate(canvas.uniform(0, 180))
    if feature == "dunes":
        for index in range(8):
            y = -20 + index * 19 + canvas.uniform(-4, 4)
            crest = curve([(x, y + canvas.uniform(-7, 7)) for x in range(-30, 140, 24)])
            below = [(x, y + 5.5 + 2 * math.sin(x / 9)) for x, y in crest[::-1]]
            canvas.polygon([*crest, *below], (112, 78, 46), 110)
            canvas.path(crest, 1, (250, 232, 196), 150)
    elif feature == "bushes":
        for _ in range(canvas.between(50, 80)):
            tree(canvas, canvas.uniform(-10, 106), canvas.uniform(-10, 106), canvas.uniform(0.8, 1.7), (98, 104, 66))
    elif feature == "road":
        y = canvas.uniform(32, 64)
        road(canvas, [(-40, y), (136, y)], 6, canvas.between(0, 4))
    else:
        for _ in range(canvas.between(4, 7)):
            x, y = canvas.uniform(8, 88), canvas.uniform(8, 88)
            outline = blob(canvas, x, y, canvas.uniform(9, 20), canvas.uniform(8, 16), 0.22)
            canvas.polygon([(px + canvas.sun[0] * 3, py + canvas.sun[1] * 3) for px, py in outline], (40, 30, 26), 120)
            canvas.cover(outline, "rock")
    return {"colour": colour, "feature": feature}


def mountain(canvas: Canvas) -> Facts:
    cover, feature = canvas.choose(("snow", "green", "bare")), canvas.choose(("none", "road", "lake", "valley"))
    canvas.ground({"snow": "snow", "green": "forest", "bare": "rock"}[cover])
    canvas.rotate(canvas.uniform(0, 180))
    lit, dark = {
        "snow": ((248, 250, 252), (86, 96, 118)),
        "green": ((112, 132, 80), (16, 30, 22)),
        "bare": ((172, 146, 118), (54, 42, 38)),
    }[cover]
    for index in range(5):
        y = -16 + index * 32 + canvas.uniform(-7, 7)
        ridge = [(x, y + canvas.uniform(-8, 8)) for x in range(-36, 144, 12)]
        for before, (x, top), after in zip(ridge, ridge[1:], ridge[2:], strict=False):
            reach = canvas.uniform(9, 17)
            canvas.polygon([(x, top), ((x + after[0]) / 2, (top + after[1]) / 2), (x + 5, top + reach)], dark, 120)
            canvas.polygon([before, (x, top), (x + 1, top + reach)], dark, 90)
            canvas.polygon([before, (x, top), (x - 5, top - reach)], lit, 90)
            canvas.polygon([(x, top), after, (x + 7, top - reach * 0.7)], lit, 60)
    if feature == "road":
        wave = curve([(-40, 44), (0, 60), (24, 38), (52, 58), (78, 40), (136, 52)])
        canvas.path(wave, 3.6, (206, 196, 172))
        canvas.path(wave, 2.2, (138, 134, 128))
    elif feature == "lake":
        canvas.cover(blob(canvas, canvas.uniform(34, 62), canvas.uniform(34, 62), 34, 26, 0.2), "blue water")
    elif feature == "valley":
        wave = curve([(-40, 50), (10, 40), (48, 56), (86, 42), (136, 50)])
        canvas.path(wave, 13, (112, 140, 84) if cover != "green" else (178, 158, 112))
    facts = {"cover": cover}
    return facts if feature == "none" else {**facts, "feature": feature}


def lake(canvas: Canvas) -> Facts:
    bank = canvas.choose(("forest", "grass", "bareland", "houses", "desert"))
    water, shape, islands = (
        canvas.choose(("blue", "green", "dark", "brown")),
        canvas.choose(("round", "irregular")),
        canvas.choose((0, 0, 1, 2)),
    )
    canvas.ground("grass" if bank == "houses" else bank)
    x, y = canvas.uniform(40, 56), canvas.uniform(40, 56)
    if bank == "forest":
        grove(canvas, Box(-10, -10, 106, 106), 170, 2.8)
    elif bank == "houses":
        for step in range(26):
            angle = step * 2.4
            radius = 40 + step % 3 * 9
            spot = (x + radius * math.cos(angle), y + radius * math.sin(angle))
            house(canvas, *spot, 9, 7, math.degrees(angle), PAINT[canvas.choose(("red", "grey", "white"))])
    elif bank == "grass":
        grove(canvas, Box(-10, -10, 106, 106), 8, 2.2)
    size = canvas.uniform(48, 60)
    shore = blob(canvas, x, y, size, size, 0.0) if shape == "round" else blob(canvas, x, y, 62, 46, 0.3)
    canvas.path([*shore, shore[0]], 3, canvas.jitter((174, 160, 122), 8))
    canvas.cover(shore, f"{water} water")
    for index in range(islands):
        island = blob(canvas, x - 7 + 15 * index, y - 5 + 9 * index, 12, 9, 0.2)
        canvas.cover(island, "lawn")
        grove(canvas, Box(x - 10 + 15 * index, y - 7 + 9 * index, x - 4 + 15 * index, y - 3 + 9 * index), 4, 1.8)
    facts = {"bank": bank, "water": water, "shape": shape}
    return {**facts, "islands": NUMBERS[islands]} if islands else facts
