"""Scenes of towns and works: each function draws one image and returns its facts."""

from iebaker.scenes.canvas import Canvas
from iebaker.scenes.geometry import EVERYTHING, Box, corners, oval, rectangle
from iebaker.scenes.objects import PAINT, building, car, grove, house, road, tank, tree
from iebaker.scenes.surroundings import add_neighbour, lay_ground, sprinkle
from iebaker.scenes.transport import NUMBERS, Facts


def denseresidential(canvas: Canvas) -> Facts:
    canvas.ground("concrete", -34)
    canvas.rotate(canvas.uniform(-25, 25))
    roof, trees = canvas.choose(("red", "grey", "blue", "brown", "white")), canvas.choose(("many", "some", "no"))
    roads = canvas.choose((0, 1, 2))
    lanes = [48 + canvas.uniform(-14, 14), 48 + canvas.uniform(-14, 14)]
    pitch = canvas.uniform(9.5, 12.5)
    steps = [-18 + pitch * index for index in range(int(132 / pitch))]
    for x in steps:
        for y in steps:
            if (roads > 0 and abs(x - lanes[0]) < 8) or (roads > 1 and abs(y - lanes[1]) < 8):
                continue
            size = pitch * canvas.uniform(0.72, 0.86)
            spot = (x + canvas.uniform(-0.6, 0.6), y + canvas.uniform(-0.6, 0.6))
            house(canvas, *spot, size, size * canvas.uniform(0.8, 1), canvas.choose((0, 90)), PAINT[roof])
            if canvas.chance({"many": 0.8, "some": 0.25, "no": 0}[trees]):
                tree(canvas, x + pitch / 2, y + canvas.uniform(-2, 2), canvas.uniform(1.6, 2.4))
    for index in range(roads):
        ends = [(lanes[0], -30.0), (lanes[0], 126.0)] if index == 0 else [(-30.0, lanes[1]), (126.0, lanes[1])]
        road(canvas, ends, 6, canvas.between(5, 12))
    return {"roof": roof, "trees": trees, "roads": NUMBERS[roads]}


def sparseresidential(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "drygrass"))
    neighbour, box = add_neighbour(canvas, ("road", "river", "farmland", "railway"))
    count, roof = canvas.between(1, 4), canvas.choose(("red", "grey", "blue", "brown", "white"))
    pool, trees = canvas.choose(("yes", "no")), canvas.choose(("many", "few"))
    grove(canvas, box, 34 if trees == "many" else 4, 2.4)
    cells = canvas.shuffled([(dx, dy) for dx in (-1, 1) for dy in (-1, 1)])
    for index, (dx, dy) in enumerate(cells[:count]):
        x, y = box.centre[0] + dx * box.width * 0.25, box.centre[1] + dy * box.height * 0.25
        canvas.polygon(rectangle(x + 3, y + 9, 3.4, 12), canvas.jitter((178, 172, 160)))
        degrees = canvas.choose((0, 90)) + canvas.uniform(-8, 8)
        house(canvas, x, y, 18, 12, degrees, PAINT[roof])
        if canvas.chance(0.6):
            house(canvas, x + 5, y + 4, 12, 9, degrees + 90, PAINT[roof])
        if index == 0 and pool == "yes":
            spot = (x - dx * 1.5 - 13 * dx, y)
            canvas.polygon(rectangle(*spot, 10, 7), (208, 202, 190))
            canvas.polygon(rectangle(*spot, 8.2, 5.2), (72, 164, 196))
    return {**facts, **neighbour, "houses": NUMBERS[count], "roof": roof, "pool": pool, "trees": trees}


def commercial(canvas: Canvas) -> Facts:
    canvas.ground("asphalt", 18)
    canvas.rotate(canvas.uniform(-20, 20))
    roof, trees = canvas.choose(("grey", "white", "blue", "brown")), canvas.choose(("some", "no"))
    busy, square = canvas.choose(("many", "few")), canvas.choose(("square", "lawn", "none"))
    lane = 48 + canvas.uniform(-8, 8)
    cells = [(x, y) for x in (-14, 12, 38, 64, 90, 116) for y in (-14, 12, 38, 64, 90, 116)]
    free = canvas.between(14, 16) if square != "none" else -1
    for index, (column, y) in enumerate(cells):
        x = column - 6 if column < lane else column + 6
        if index == free:
            canvas.cover(rectangle(x, y, 22, 22), "concrete" if square == "square" else "lawn", 16)
            if square == "square":
                canvas.disc(x, y, 4, (140, 136, 128))
            continue
        width, depth = canvas.uniform(13, 21), canvas.uniform(13, 21)
        building(canvas, x, y, width, depth, PAINT[roof], canvas.uniform(5, 13))
        if trees == "some":
            for _ in range(3):
                tree(canvas, x + canvas.uniform(-12, 12), y + 12.5, canvas.uniform(1.6, 2.2))
    road(canvas, [(lane, -30), (lane, 126)], 8, 14 if busy == "many" else 3)
    facts = {"roof": roof, "trees": trees, "traffic": busy}
    return facts if square == "none" else {**facts, "square": square}


def industrial(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("concrete", "bareland", "grass"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "river", "railway", "farmland", "bareland"))
    roof, count = canvas.choose(("blue", "white", "red", "grey")), canvas.between(2, 5)
    trucks = canvas.choose(("some", "no"))
    canvas.cover(corners(box), "concrete", -12)
    upright = canvas.chance(0.5)
    for index in range(count):
        at = (index + 0.5) / count
        size = (box.width / count - 4, box.height - canvas.uniform(4, 16))
        spot = (box.left + box.width * at, box.centre[1] - 2)
        if upright:
            spot, size = (
                (box.centre[0] - 2, box.top + box.height * at),
                (box.width - canvas.uniform(4, 16), box.height / count - 4),
            )
        building(canvas, *spot, *size, PAINT[roof], 3.5)
        ribs = 8
        for rib in range(1, ribs):
            offset = (rib / ribs - 0.5) * (size[0] if upright else size[1])
            line = (
                rectangle(spot[0] + offset, spot[1], 0.4, size[1] - 1)
                if upright
                else rectangle(spot[0], spot[1] + offset, size[0] - 1, 0.4)
            )
            canvas.polygon(line, tuple(channel * 5 // 6 for channel in PAINT[roof]))
    if trucks == "some":
        for _ in range(canvas.between(5, 9)):
            x, y = canvas.uniform(box.left, box.right), box.bottom - canvas.uniform(0, 4)
            canvas.polygon(rectangle(x, y, 2, 5), canvas.jitter(PAINT[canvas.choose(("white", "orange", "blue"))]))
    return {**facts, **neighbour, "roof": roof, "plants": NUMBERS[count], "trucks": trucks}


def storagetanks(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas)
    neighbour, box = add_neighbour(canvas, ("road", "trees", "river", "railway", "bareland", "building"))
    count, paint = canvas.choose((1, 2, 3, 4, 6, 9, 16)), canvas.choose(("white", "grey", "red", "green", "blue"))
    columns = {1: 1, 2: 2, 3: 3, 4: 2, 6: 3, 9: 3, 16: 4}[count]
    rows = -(-count // columns)
    arranged = canvas.choose(("neatly", "randomly")) if count > 2 else "neatly"
    if canvas.chance(0.5):
        columns, rows = rows, columns
    width, height = box.width / columns, box.height / rows
    canvas.cover(corners(box), "concrete" if facts["ground"] != "concrete" else "asphalt", -4) if canvas.chance(
        0.4
    ) else None
    for index in range(count):
        size = min(width, height) / 2 * (0.8 if count > 2 else 0.62)
        x, y = box.left + (index % columns + 0.5) * width, box.top + (index // columns + 0.5) * height
        if arranged == "randomly":
            size *= canvas.uniform(0.5, 0.95)
            slack = min(width, height) / 2 - size
            x, y = x + canvas.uniform(-slack, slack), y + canvas.uniform(-slack, slack)
        tank(canvas, x, y, size, PAINT[paint])
    facts = {**facts, **neighbour, "tanks": NUMBERS[count] if count < 10 else "many", "paint": paint}
    return {**facts, "arranged": arranged} if count > 2 else facts


def solarfarm(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("grass", "bareland", "drygrass"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "river", "farmland", "building"))
    rows, hut = canvas.between(3, 9), canvas.choose(("red", "white", "none"))
    upright = canvas.chance(0.5)
    panel = canvas.choose(((34, 50, 92), (44, 58, 84), (40, 62, 116)))
    if not upright:
        box = Box(box.top, box.left, box.bottom, box.right)
    step = box.width / rows

    def turned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
        return points if upright else [(y, x) for x, y in points]

    gap = box.centre[1] + canvas.uniform(-10, 10)
    for index in range(rows):
        x = box.left + (index + 0.5) * step
        for top, bottom in ((box.top, gap - 2.5), (gap + 2.5, box.bottom)):
            outline = turned(corners(Box(x - step * 0.3, top, x + step * 0.3, bottom)))
            canvas.shadow(outline, 1)
            canvas.polygon(outline, canvas.jitter(panel, 5, 3))
            cut = top + 4
            while cut < bottom:
                canvas.polygon(turned(rectangle(x, cut, step * 0.6, 0.4)), (126, 140, 166))
                cut += 4.5
    if hut == "none":
        return {**facts, **neighbour, "rows": NUMBERS[rows]}
    corner = canvas.choose(
        [(box.left + 6, box.top + 6), (box.right - 6, box.bottom - 6), (box.left + 6, box.bottom - 6)]
    )
    canvas.cover(turned(rectangle(*corner, 17, 17)), facts["ground"])
    building(canvas, *turned([corner])[0], 10, 10, PAINT[hut], 3)
    return {**facts, **neighbour, "rows": NUMBERS[rows], "hut": hut}


def church(canvas: Canvas) -> Facts:
    facts = lay_ground(canvas, ("concrete", "grass", "drygrass"))
    neighbour, box = add_neighbour(canvas, ("road", "trees", "houses", "river", "building"))
    roof, shape = canvas.choose(("red", "grey", "blue", "brown", "green")), canvas.choose(("cross", "long", "dome"))
    cars = canvas.choose(("some", "no"))
    x, y = box.centre
    turn = canvas.choose((0, 90)) + canvas.uniform(-10, 10)
    canvas.cover(oval(x, y, box.width * 0.9, box.height * 0.9, 0, 5), "concrete", 14)
    paint = PAINT[roof]
    if shape == "dome":
        canvas.shadow(oval(x, y, 36, 36), 6)
        canvas.polygon(rectangle(x, y, 40, 40, turn), canvas.jitter((196, 188, 172), 6))
        for shrink, light in ((17, -30), (15, 0), (10, 16), (5, 34), (1.6, 60)):
            canvas.disc(
                x - canvas.sun[0] * (17 - shrink) * 0.2,
                y - canvas.sun[1] * (17 - shrink) * 0.2,
                shrink,
                tuple(min(max(channel + light, 0), 255) for channel in paint),
            )
    else:
        house(canvas, x, y, 46, 15, turn, paint)
        if shape == "cross":
            house(canvas, x, y, 32, 13, turn + 90, paint)
            house(canvas, x, y, 46, 15, turn, paint)
        canvas.polygon(rectangle(x, y, 6, 6, turn), tuple(channel * 2 // 3 for channel in paint))
    if cars == "some":
        for _ in range(canvas.between(6, 10)):
            car(canvas, canvas.uniform(box.left, box.right), canvas.choose((box.top + 3, box.bottom - 3)), 90)
    sprinkle(canvas, EVERYTHING, 5)
    return {**facts, **neighbour, "roof": roof, "shape": shape, "cars": cars}
