"""Scenes of transport: each function draws one image and returns its facts."""

from iebaker.scenes.canvas import Canvas
from iebaker.scenes.geometry import FRAME, Box, corners, curve, oval, rectangle, strip
from iebaker.scenes.objects import PAINT, boat, building, car, grove, house, plane, road, traffic
from iebaker.scenes.surroundings import add_neighbour, band, lay_ground, rails, sprinkle

NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
Facts = dict[str, str]


def airport(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "drygrass"))
    neighbour, box = add_neighbour(
        canvas, ("road", "trees", "houses", "bareland", "farmland"), ("left", "right", "bottom")
    )
    canvas.cover(
        corners(Box(box.left - 2, box.top - 4, box.right + 2, box.bottom - 2)), "concrete", canvas.between(-34, 6)
    )
    count, roof = canvas.between(1, 6), canvas.choose(("white", "grey", "blue", "red"))
    middle, top = box.centre[0], box.top + 6
    building(canvas, middle, top, box.width * 0.86, 11, PAINT[roof], 4)
    step = box.width / count
    tail, length = PAINT[canvas.choose(("red", "blue", "green", "orange"))], min(17.0, step * 1.02)
    for index in range(count):
        x = box.left + (index + 0.5) * step
        canvas.polygon(rectangle(x, top + 8, 1.6, 8), PAINT["grey"])
        plane(
            canvas,
            x,
            top + 21 + canvas.uniform(-1, 1),
            max(length, 11.5),
            -90 + canvas.uniform(-8, 8),
            PAINT["white"],
            tail,
        )
    stripe = top + 36
    canvas.path([(box.left, stripe), (box.right, stripe)], 0.7, PAINT["yellow"])
    for _ in range(canvas.between(0, 4)):
        car(canvas, canvas.uniform(box.left, box.right), stripe + canvas.uniform(4, 10), canvas.choose((0, 90)))
    return {**facts, **neighbour, "planes": NUMBERS[count], "terminal": roof}


def port(canvas: Canvas) -> Facts:
    water = canvas.choose(("blue", "green", "dark"))
    canvas.ground(f"{water} water")
    side = canvas.choose(("left", "right", "top", "bottom"))
    quay = canvas.uniform(20, 27)
    land = canvas.choose(("concrete", "grass", "bareland"))
    shore = band(side, quay)
    canvas.shadow(corners(shore), 1.2, 80)
    canvas.cover(corners(shore), land)
    count = canvas.choose((2, 3, 4, 5, 12, 20))
    paint = canvas.choose(("white", "red", "yellow"))
    upright = side in ("left", "right")
    piers = 1 if count < 6 else canvas.between(2, 3)
    inward = 1 if side in ("left", "top") else -1
    base = quay if inward > 0 else FRAME - quay
    for pier in range(piers):
        across = FRAME * (pier + 0.5) / piers + canvas.uniform(-4, 4)
        ends = [(base - inward * 2, across), (base + inward * 52, across)]
        canvas.path([p if upright else p[::-1] for p in ends], 2.6, canvas.jitter((170, 164, 150)))
        berths = _share(count, piers, pier)
        rows = max((berths + 1) // 2, 1)
        for index in range(berths):
            along = base + inward * (7 + 44 * (index // 2 + 0.5) / rows)
            off = (1 if index % 2 else -1) * (9.5 if count < 6 else 6.6)
            length = canvas.uniform(13, 16) if count < 6 else canvas.uniform(9, 11)
            x, y = (along, across + off) if upright else (across + off, along)
            degrees = (90 if off < 0 else -90) if upright else (0 if off < 0 else 180)
            boat(canvas, x, y, length, degrees + canvas.uniform(-5, 5), PAINT[paint])
    for _ in range(canvas.between(2, 4)):
        x, y = canvas.uniform(5, quay - 6), canvas.uniform(6, 90)
        x = x if inward > 0 else FRAME - x
        building(canvas, *((x, y) if upright else (y, x)), 8, 8, PAINT[canvas.choose(("grey", "white", "red"))], 2)
    return {
        "boats": NUMBERS[count] if count < 10 else "many",
        "paint": paint,
        "water": water,
        "side": side,
        "land": land,
    }


def _share(count: int, parts: int, index: int) -> int:
    return count // parts + (index < count % parts)


def bridge(canvas: Canvas) -> Facts:
    canvas.rotate(canvas.uniform(-14, 14))
    bank, water = (
        canvas.choose(("grass", "forest", "bareland", "buildings")),
        canvas.choose(("blue", "green", "brown", "dark")),
    )
    canvas.ground("concrete" if bank == "buildings" else bank)
    upright = canvas.chance(0.5)
    width = canvas.uniform(34, 48)
    bed = curve([(46, -30), (48 + canvas.uniform(-5, 5), 20), (48, 48), (48 + canvas.uniform(-5, 5), 76), (50, 126)])
    bed = bed if upright else [(y, x) for x, y in bed]
    canvas.path(bed, width + 3, canvas.jitter((150, 142, 116)))
    canvas.cover(strip(bed, width), f"{water} water")
    if bank == "forest":
        for box in (Box(-20, -20, 22, 116), Box(74, -20, 116, 116)):
            grove(canvas, box if upright else Box(box.top, box.left, box.bottom, box.right), 60, 2.8)
    if bank == "buildings":
        for _ in range(18):
            away, along = canvas.choose((canvas.uniform(-8, 16), canvas.uniform(80, 104))), canvas.uniform(-8, 104)
            building(
                canvas,
                *((away, along) if upright else (along, away)),
                8,
                8,
                PAINT[canvas.choose(("grey", "red", "white"))],
            )
    count = canvas.between(1, 3)
    busy = canvas.choose(("many", "few", "no"))
    paint = canvas.choose(("grey", "white", "red"))
    for index in range(count):
        across = FRAME * (index + 0.5) / count + canvas.uniform(-5, 5)
        ends = [(-30.0, across), (126.0, across)]
        ends = ends if upright else [(y, x) for x, y in ends]
        canvas.shadow(strip(ends, 8), 4, 100)
        canvas.path(ends, 9, PAINT[paint])
        canvas.path(ends, 6.2, canvas.jitter((112, 112, 114), 6))
        canvas.dashes(ends, 0.4, (220, 218, 208))
        traffic(canvas, ends[0], ends[1], {"many": 18, "few": 5, "no": 0}[busy], 1.6)
    return {"bridges": NUMBERS[count], "water": water, "bank": bank, "traffic": busy, "paint": paint}


def viaduct(canvas: Canvas) -> Facts:
    canvas.rotate(canvas.uniform(0, 90))
    facts = lay_ground(canvas, ("grass", "bareland", "concrete"))
    loops = canvas.choose((0, 2, 4))
    busy = canvas.choose(("many", "few"))
    trees = canvas.choose(("many", "no"))
    if trees == "many":
        for x, y in ((16, 16), (80, 16), (16, 80), (80, 80)):
            grove(canvas, Box(x - 15, y - 15, x + 15, y + 15), 22, 2.2)
    for dx, dy in ((1, 1), (-1, -1), (1, -1), (-1, 1))[:loops]:
        ring = [(48 + dx * 19 + x, 48 + dy * 19 + y) for x, y in oval(0, 0, 27, 27)]
        canvas.path([*ring, ring[0]], 5.6, (176, 172, 160))
        canvas.path([*ring, ring[0]], 4.4, canvas.jitter((104, 105, 108), 6))
        ramp = curve(
            [
                (48 + dx * 64, 48 + dy * 5),
                (48 + dx * 36, 48 + dy * 10),
                (48 + dx * 10, 48 + dy * 36),
                (48 + dx * 5, 48 + dy * 64),
            ]
        )
        canvas.path(ramp, 4.8, (176, 172, 160))
        canvas.path(ramp, 3.8, canvas.jitter((104, 105, 108), 6))
    cars = 22 if busy == "many" else 6
    road(canvas, [(-30, 48), (126, 48)], 10, cars)
    canvas.shadow(rectangle(48, 48, 11, 150), 5, 120)
    road(canvas, [(48, -30), (48, 126)], 10, cars)
    if canvas.chance(0.5):
        road(canvas, curve([(-30, 90), (30, 70), (70, 30), (126, 10)]), 6)
    shape = {0: "cross", 2: "butterfly", 4: "clover"}[loops]
    return {**facts, "shape": shape, "traffic": busy, "trees": trees}


def railwaystation(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "concrete"))
    upright = canvas.chance(0.5)
    sides = ("left", "right") if upright else ("top", "bottom")
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "bareland", "river"), sides)
    roof, train = canvas.choose(("white", "blue", "grey", "red")), canvas.choose(("green", "white", "orange", "blue"))
    trains = canvas.between(1, 3)
    start, end = (box.left, box.right) if upright else (box.top, box.bottom)
    bed = Box(start - 1, -30, end + 1, 126)

    def turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return points if upright else [(y, x) for x, y in points]

    canvas.cover(turned(corners(bed)), "rock", -8)
    tracks = 8
    lines = [start + (end - start) * (index + 0.5) / tracks for index in range(tracks)]
    for x in lines:
        rails(canvas, turned([(x, -30.0), (x, 126.0)]))
    for index in canvas.shuffled((0, 1, 5, 6, 7))[:trains]:
        middle = canvas.uniform(25, 71)
        for wagon in range(-3, 3):
            outline = turned(rectangle(lines[index], middle + wagon * 11, 4.2, 10.2))
            canvas.shadow(outline, 1.2)
            canvas.polygon(outline, canvas.jitter(PAINT[train], 6))
            canvas.polygon(turned(rectangle(lines[index], middle + wagon * 11, 1.2, 9)), (206, 206, 204))
    hall = turned(rectangle((lines[2] + lines[4]) / 2, 48, (end - start) / 8 * 2.6, 56))
    canvas.shadow(hall, 4)
    canvas.polygon(hall, canvas.jitter(PAINT[roof], 8))
    for step in range(-4, 5):
        rib = turned(rectangle((lines[2] + lines[4]) / 2, 48 + step * 6, (end - start) / 8 * 2.6, 0.7))
        canvas.polygon(rib, tuple(channel * 4 // 5 for channel in PAINT[roof]))
    return {**facts, **neighbour, "trains": NUMBERS[trains], "train": train, "roof": roof}


def parking(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "concrete"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "river", "building"))
    surface = canvas.choose(("asphalt", "concrete"))
    canvas.cover(corners(box), surface)
    rows, filled = canvas.between(2, 5), canvas.choose((0.95, 0.3))
    for row in range(rows):
        y = box.top + box.height * (row + 0.5) / rows
        canvas.polygon(rectangle(box.centre[0], y, box.width - 4, 0.4), (220, 220, 214))
        x = box.left + 4.0
        while x < box.right - 3:
            for lane in (-2.2, 2.2) if rows < 5 else (-2.0, 2.0):
                canvas.polygon(rectangle(x - 1.3, y + lane, 0.35, 3.8), (214, 214, 208))
                if canvas.chance(filled):
                    car(canvas, x, y + lane, 90 + canvas.uniform(-4, 4))
            x += 2.7
    sprinkle(canvas, Box(box.left, box.top - 3, box.right, box.top), 3)
    return {**facts, **neighbour, "rows": NUMBERS[rows], "cars": "many" if filled > 0.5 else "few", "surface": surface}


def roundabout(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "concrete"))
    arms, centre = canvas.between(3, 4), canvas.choose(("trees", "fountain", "lawn"))
    busy = canvas.choose(("many", "few"))
    corner_roofs = canvas.choose(("red", "grey", "white"))
    blocked = canvas.choose(("left", "right", "top", "bottom")) if arms == 3 else ""
    ends = {"left": (-30.0, 48.0), "right": (126.0, 48.0), "top": (48.0, -30.0), "bottom": (48.0, 126.0)}
    for x, y in ((14, 14), (82, 14), (14, 82), (82, 82)):
        for dx, dy in ((-9, -9), (7, -8), (-8, 7), (8, 9)):
            if canvas.chance(0.85):
                house(
                    canvas,
                    x + dx * 0.9,
                    y + dy * 0.9,
                    canvas.uniform(8, 12),
                    canvas.uniform(7, 10),
                    canvas.choose((0, 90)),
                    PAINT[corner_roofs],
                )
    for side, end in ends.items():
        if side != blocked:
            road(canvas, [(48.0, 48.0), end], 8, 8 if busy == "many" else 2)
    canvas.disc(48, 48, 24.6, (172, 168, 156))
    canvas.disc(48, 48, 24, canvas.jitter((106, 107, 110), 8))
    canvas.disc(48, 48, 13.6, (196, 192, 180))
    canvas.cover(oval(48, 48, 26, 26), "lawn")
    if centre == "trees":
        grove(canvas, Box(40, 40, 56, 56), 22, 2.6)
    if centre == "fountain":
        canvas.disc(48, 48, 7.5, (206, 202, 192))
        canvas.disc(48, 48, 6.3, canvas.jitter((78, 138, 176), 8))
        canvas.disc(48, 48, 1.6, (236, 240, 242))
    for dx, dy in ((18, 4), (-18, -5), (3, 18), (-4, -18), (13, 13), (-13, -12))[: 6 if busy == "many" else 2]:
        car(canvas, 48 + dx, 48 + dy, 90 if abs(dx) > abs(dy) else 0)
    return {**facts, "arms": NUMBERS[arms], "middle": centre, "traffic": busy, "roof": corner_roofs}
