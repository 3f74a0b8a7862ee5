"""GeoTIFFs of drawn pictures: cut, placed and found again."""

import json
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from search_fixtures import draw, write_model

from iebaker.errors import IebakerError
from iebaker.search.archive import Archive
from iebaker.search.commit import commit
from iebaker.search.embedding import Embedder
from iebaker.search.index import write_shards
from iebaker.search.items import SceneSettings, items_of, open_item
from iebaker.search.listing import roots_of
from iebaker.search.plan import Request, make_plan
from iebaker.search.query import Searcher, Term
from iebaker.search.scenes import starts

rasterio = pytest.importorskip("rasterio", reason="the extra geo is not installed")
CHIP = SceneSettings(chip=40)
PIXEL = 10.0  # metres
# name: EPSG code and upper left corner, in metres
SCENES = {
    "berlin": (32633, 380_000, 5_820_000),
    "quito": (32717, 780_000, 9_980_000),
    "fiji": (32760, 819_500, 8_160_000),
}


def write_scene(path, code, left, top, pixels, tags=None, **profile):
    """A GeoTIFF of (H, W, bands)."""
    height, width, count = pixels.shape
    transform = rasterio.transform.from_origin(left, top, PIXEL, PIXEL)
    profile = {"crs": f"EPSG:{code}", "transform": transform, "dtype": pixels.dtype, **profile}
    with rasterio.open(path, "w", "GTiff", width, height, count, **profile) as out:
        out.write(pixels.transpose(2, 0, 1))
        out.update_tags(**(tags or {}))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A scene of 3 x 2 pictures in each of three zones, the last across the antimeridian, indexed with half overlap."""
    root = tmp_path_factory.mktemp("scenes")
    (root / "scenes").mkdir()
    for number, (name, (code, left, top)) in enumerate(SCENES.items()):
        tiles = [[np.asarray(draw(10 * number + 3 * row + column)) for column in range(3)] for row in range(2)]
        pixels = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
        tags = {"TIFFTAG_DATETIME": f"202{number}:06:01 10:00:00", "PLATFORM": "drawn"}
        write_scene(root / f"scenes/{name}.tif", code, left, top, pixels, tags)
    embedder = Embedder(write_model(root / "model"))
    plan = make_plan(root / "archive", embedder, Request(embedder.folder, [root / "scenes"], chip=CHIP.chip))
    write_shards(plan, embedder)
    commit(plan)
    return root


@pytest.mark.parametrize("number", range(3))
def test_a_picture_is_found_at_its_place(place, number):
    name, (code, left, top) = list(SCENES.items())[number]
    searcher = Searcher(Archive(place / "archive"))
    for row in range(2):
        for column in range(3):
            picture = draw(10 * number + 3 * row + column)
            about = searcher.search([Term(picture)], 1)[0].about
            assert (about["href"], about["window"]) == (f"scenes/{name}.tif", [40 * column, 40 * row, 40, 40])
            middle = [left + (40 * column + 20) * PIXEL], [top - (40 * row + 20) * PIXEL]
            (longitude,), (latitude,) = rasterio.warp.transform(f"EPSG:{code}", "EPSG:4326", *middle)
            west, south, east, north = about["bbox"].values()
            assert south < latitude < north and north - south == pytest.approx(400 / 111_000, rel=0.1)
            assert (longitude - west) % 360 < (east - west) % 360 < 0.02
            assert about["datetime"] == datetime(2020 + number, 6, 1, 10, tzinfo=UTC)
            assert (about["sensor"], about["gsd"]) == ("drawn", PIXEL)
            shown = searcher.picture(searcher.search([Term(picture)], 1)[0].row)
            assert np.array_equal(np.asarray(shown), np.asarray(picture))


def test_some_windows_cross_the_antimeridian_and_both_sides_find_them(place):
    archive = Archive(place / "archive")
    boxes = [tuple(box.values()) for box in archive.table["bbox"].to_pylist()]
    crossing = [row for row, box in enumerate(boxes) if box[0] > box[2]]
    assert crossing and all(archive.table["href"][row].as_py() == "scenes/fiji.tif" for row in crossing)
    searcher = Searcher(archive)
    for side in ((179.9, -20, 180, -10), (-180, -20, -179.9, -10), (179.9, -20, -179.9, -10)):
        found = {hit.row for hit in searcher.search([Term(0)], 99, box=side)}
        assert found >= set(crossing)
        assert {archive.table["href"][row].as_py() for row in found} == {"scenes/fiji.tif"}
    assert archive.collection["extent"]["temporal"]["interval"] == [["2020-06-01T10:00:00Z", "2022-06-01T10:00:00Z"]]
    kinds = {row: archive.table["geometry"][row].as_py()[1] for row in (crossing[0], 0)}
    assert kinds == {crossing[0]: 6, 0: 3}  # MultiPolygon, Polygon


def items(path, settings, size=16):
    return list(items_of(roots_of([path])[0], f"{path.parent.name}/{path.name}", size, settings))


def test_windows_without_enough_data_are_left_out(tmp_path):
    pixels = np.full((80, 120, 3), 7, np.uint8)
    pixels[:, 50:] = 0
    write_scene(tmp_path / "a.tif", 32633, 4e5, 5e6, pixels, nodata=0)
    columns = {item.window[0] for item in items(tmp_path / "a.tif", CHIP)}
    assert columns == {0, 20}  # from column 20 on 30 of 40 are valid, from 40 on 10
    assert {item.window[0] for item in items(tmp_path / "a.tif", SceneSettings(chip=40, min_valid=0.9))} == {0}
    write_scene(tmp_path / "b.tif", 32633, 4e5, 5e6, np.zeros((50, 50, 3), np.uint8), nodata=0)
    with pytest.raises(IebakerError, match="lower --min-valid"):
        items(tmp_path / "b.tif", CHIP)


def test_bands_and_scales_become_eight_bits(tmp_path):
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 3001, (40, 40, 4)).astype(np.uint16)
    path = tmp_path / "a.tif"
    write_scene(path, 32633, 4e5, 5e6, pixels)
    fixed = SceneSettings(chip=40, bands=(4, 2, 1), scale=(0, 3000))
    expected = (pixels[..., [3, 1, 0]] / 3000 * 255).round()
    assert np.abs(items(path, fixed, 40)[0].pixels - expected).max() <= 1
    by_percentiles = items(path, SceneSettings(chip=40), 40)[0].pixels
    low, high = np.percentile(pixels[..., 0], (2, 98))
    assert np.abs(by_percentiles[..., 0] - np.clip((pixels[..., 0] - low) / (high - low), 0, 1) * 255).max() <= 1
    assert open_item(roots_of([path])[0], f"{tmp_path.name}/a.tif", (0, 0, 40, 40), fixed).size == (40, 40)
    with pytest.raises(IebakerError, match="bands 1 to 4"):
        items(path, SceneSettings(bands=(7, 2, 1)))


@pytest.mark.parametrize(("length", "expected"), [(100, [0, 20, 40, 60]), (50, [0, 10]), (40, [0]), (30, [0])])
def test_windows_cover_the_whole_scene(length, expected):
    assert starts(length, 40, 20) == expected


def test_a_stac_item_beside_a_file_gives_place_and_time(tmp_path):
    draw(0).save(tmp_path / "chip.png")
    draw(1).save(tmp_path / "other.png")
    item = {"type": "Feature", "id": "x", "bbox": [5, 6, 7, 8], "assets": {"data": {"href": "./other.png"}},
            "properties": {"datetime": "2023-01-02T03:04:05Z", "platform": "sentinel-2a", "gsd": 10}}  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"type": "FeatureCollection", "features": [item]}))
    assert items(tmp_path / "chip.png", CHIP)[0].place.box is None
    found = items(tmp_path / "other.png", CHIP)[0].place
    assert found == ((5, 6, 7, 8), datetime(2023, 1, 2, 3, 4, 5, tzinfo=UTC), "sentinel-2a", 10)
    (tmp_path / "chip.json").write_text(json.dumps(item | {"bbox": [1, 2]}))
    with pytest.raises(IebakerError, match="bbox has 2 numbers"):
        items(tmp_path / "chip.png", CHIP)


def test_without_rasterio_the_extra_is_named(tmp_path, monkeypatch):
    write_scene(tmp_path / "a.tif", 32633, 4e5, 5e6, np.zeros((40, 40, 3), np.uint8))
    monkeypatch.setitem(sys.modules, "rasterio", None)
    with pytest.raises(IebakerError, match=r"iebaker\[geo\]"):
        items(tmp_path / "a.tif", CHIP)
