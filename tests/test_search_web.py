"""The page in a real browser, and its API over a real socket."""

import io
import json
import re
import shutil
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from search_fixtures import draw, write_images, write_model
from test_report_hostile import HOSTILE

from iebaker.search.archive import Archive
from iebaker.search.commit import commit
from iebaker.search.embedding import Embedder
from iebaker.search.index import write_shards
from iebaker.search.plan import Request, make_plan
from iebaker.search.query import Searcher

uvicorn = pytest.importorskip("uvicorn", reason="the extra web is not installed")
pytest.importorskip("starlette", reason="the extra web is not installed")
CHROMIUM = shutil.which("chromium")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A folder with an archive of 30 pictures, half of them placed by STAC items."""
    root = tmp_path_factory.mktemp("web")
    model, images = write_model(root / "model"), write_images(root / "images", range(30))
    for seed in range(15):
        item = {"type": "Feature", "id": "x", "bbox": [seed, 10, seed + 1, 11],
                "properties": {"datetime": f"20{seed + 10}-06-01T00:00:00Z", "platform": "ab"[seed % 2]}}  # fmt: skip
        (images / f"{seed:04d}.json").write_text(json.dumps(item))
    (root / "secret.png").write_bytes((images / "0000.png").read_bytes())
    index(root, model, images)
    return root


def index(root, model, images):
    embedder = Embedder(model)
    plan = make_plan(root / "archive", embedder, Request(model, [images], model / "captions.txt"))
    write_shards(plan, embedder)
    commit(plan)


@contextmanager
def served(archive):
    """The address of a server of it."""
    from iebaker.search.web.app import application

    server = uvicorn.Server(
        uvicorn.Config(application(Searcher(Archive(archive)), ["127.0.0.1"]), port=0, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def address(root):
    """Of a running server."""
    with served(root / "archive") as address:
        yield address


def ask(address, path, body=None, **headers):
    """Status, headers and body of an answer."""
    try:
        with urllib.request.urlopen(urllib.request.Request(address + path, body, headers)) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def found(address, path, body=None):
    status, _, content = ask(address, path, body)
    assert status == 200, content
    return json.loads(content)["hits"]


def png(image):
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def test_words_images_rows_and_filters(address):
    hits = found(address, "/api/search?q=boats&k=30")
    assert [hit["rank"] for hit in hits] == list(range(1, 31)) and 0 <= hits[0]["confidence"] <= 100
    assert found(address, "/api/search?k=1", png(draw(21)))[0]["path"] == "images/0021.png"
    assert found(address, "/api/search?like=8&k=1")[0]["row"] == 8
    plain, without = (found(address, f"/api/search?q=boats{more}&k=30") for more in ("", "&minus=many%20trees"))
    assert [hit["row"] for hit in plain] != [hit["row"] for hit in without]
    placed = found(address, "/api/search?q=boats&k=30&bbox=3.5,0,5.5,20")
    assert {hit["row"] for hit in placed} == {3, 4, 5}
    dated = found(address, "/api/search?q=boats&k=30&since=2012-06-01&until=2014-06-01&sensor=a")
    assert {hit["row"] for hit in dated} == {2, 4}
    assert len(json.loads(ask(address, "/api/caption?like=3&k=4")[2])) == 4


def test_downloads_and_thumbnails(address):
    status, headers, content = ask(address, "/api/search?q=boats&k=5&format=csv")
    assert status == 200 and len(content.decode().splitlines()) == 6 and "attachment" in headers["Content-Disposition"]
    features = json.loads(ask(address, "/api/search?q=boats&k=30&format=geojson")[2])["features"]
    assert sum(feature["geometry"] is not None for feature in features) == 15
    status, headers, content = ask(address, "/api/thumbnail/7")
    assert headers["Content-Type"] == "image/jpeg"
    assert np.abs(np.asarray(Image.open(io.BytesIO(content))).astype(int) - np.asarray(draw(7))).mean() < 12


@pytest.mark.parametrize(
    ("path", "body", "status", "says"),
    [
        ("/api/search", None, 400, "query needs words"),
        ("/api/search?q=" + "a" * 301, None, 400, "longer than 300"),
        ("/api/search?" + "&".join(["plus=a"] * 9), None, 400, "at most 8"),
        ("/api/search?q=a&k=0", None, 400, "from 1 to 200"),
        ("/api/search?q=a&k=999", None, 400, "from 1 to 200"),
        ("/api/search?q=a&bbox=1,2,3", None, 400, "west,south,east,north"),
        ("/api/search?q=a&bbox=nan,0,1,1", None, 400, "west,south,east,north"),
        ("/api/search?q=a&since=soon", None, 400, "datetime"),
        ("/api/search?q=a&where=1", None, 400, "unknown parameter 'where'"),
        ("/api/search?q=a&sensor=" + quote("'] or __import__('os')"), None, 200, '"hits":[]'),
        ("/api/search?like=99", None, 400, "rows 0 to 29"),
        ("/api/search", b"no image at all", 400, "not a readable image"),
        ("/api/search", b"\0" * (20 * 2**20 + 1), 413, "larger than 20 MiB"),
        ("/api/search", png(Image.new("1", (8000, 8000))), 413, "50 million pixels"),
        ("/api/caption", None, 400, "post an image"),
        ("/api/thumbnail/99", None, 404, "30 rows"),
        ("/api/thumbnail/../../secret.png", None, 404, ""),
        ("/..%2f..%2fsecret.png", None, 404, ""),
        ("/static/app.py", None, 404, ""),
    ],
)
def test_limits_and_mistakes_are_explained(address, path, body, status, says):
    got, headers, content = ask(address, path, body)
    assert (got, says in content.decode()) == (status, True), content[:300]
    assert headers["Content-Security-Policy"].startswith("default-src 'self';")


def test_a_foreign_host_name_is_refused(address):
    assert ask(address, "/api/archive", Host="evil.example")[0] == 400


def test_no_absolute_path_leaves_the_server(address, root):
    for path in ("/api/archive", "/api/search?q=a&k=30", "/api/search?q=a&format=csv", "/"):
        assert str(root).encode() not in ask(address, path)[2]


def test_the_openapi_document_names_every_route_and_field(address):
    document = json.loads(ask(address, "/api/openapi.json")[2])
    from iebaker.search.web.app import application

    source = application.__globals__["Service"]
    assert set(document["paths"]) == {f"/api/{name}" for name in ("archive", "search", "caption", "thumbnail/{row}")}
    assert all(hasattr(source, path.split("/")[2]) or path == "/api/archive" for path in document["paths"])
    schema = document["paths"]["/api/search"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert set(schema["properties"]["hits"]["items"]["properties"]) == set(found(address, "/api/search?q=a&k=1")[0])


def test_fifty_queries_at_once_give_what_one_after_the_other_gives(address):
    paths = [f"/api/search?q={number}%20boats&k=5" for number in range(50)]
    alone = [found(address, path) for path in paths]
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda path: found(address, path), paths)) == alone


@pytest.fixture(scope="module")
def browser():
    if not CHROMIUM:
        pytest.skip("no chromium on this machine: the page is not tested")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as play:
        # no name but the server's resolves: a page that asks for anything foreign fails
        options = ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-sandbox"]
        browser = play.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    with opened(browser, address) as page:
        yield page


@contextmanager
def opened(browser, address, query=""):
    """The page at phone width; anything that goes wrong in it fails the test."""
    page = browser.new_page(viewport={"width": 390, "height": 800})
    wrong, foreign = [], []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: foreign.append(request.url) if not request.url.startswith(address) else None)
    page.goto(address + query)
    page.refused = 0
    yield page
    page.close()
    assert (len(wrong), foreign) == (page.refused, []), wrong


def status(page, text):
    page.wait_for_function("text => document.getElementById('status').textContent.includes(text)", arg=text)


def test_search_by_keyboard_and_more_like_this(page):
    page.locator("#q").focus()
    page.keyboard.type("two boats")
    page.keyboard.press("Enter")
    status(page, "20 results")
    assert page.url.endswith("?q=two+boats") and page.locator("#results li").count() == 20
    names = [image.get_attribute("alt") for image in page.locator("#results img").all()]
    assert all(re.fullmatch(rf"Result {rank}: images/\d+\.png(, .+)?", name) for rank, name in enumerate(names, 1))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    third = names[2].split()[2].rstrip(",")
    page.get_by_role("button", name="More like result 3", exact=True).press("Enter")
    status(page, "like row")
    assert third in page.locator("#results img").first.get_attribute("alt")
    page.go_back()
    status(page, "20 results  in")
    assert page.locator("#q").input_value() == "two boats"
    page.get_by_role("button", name="Captions for result 1", exact=True).click()
    status(page, "Captions for result 1:")


def test_an_uploaded_image_filters_and_the_map(page, root):
    page.locator("#image").set_input_files(root / "images/0009.png")
    status(page, "like the image")
    assert "images/0009.png" in page.locator("#results img").first.get_attribute("alt")
    page.locator("#image").set_input_files(root / "archive/collection.json")
    status(page, "not a readable image")
    page.refused = 1  # which the browser writes to its console
    page.locator("#clear").click()
    page.locator("summary").click()
    page.locator("#bbox").fill("3.5,0,5.5,20")
    page.locator("#q").fill("boats")
    page.keyboard.press("Enter")
    status(page, "3 results")
    assert page.locator("#map rect").count() == 3 and page.locator("#map").is_visible()
    with page.expect_download() as download:
        page.locator("#csv").click()
    assert len(download.value.path().read_text().splitlines()) == 4


def test_hostile_names_captions_and_addresses_do_nothing(browser, tmp_path):
    """Names of files, sensors, captions of the bank and a link's query are shown as they are, and never act."""
    model = write_model(tmp_path / "model")
    hostile = [" ".join(text.replace("\x00", "").split())[:150] for text in HOSTILE if text.strip()]
    (model / "captions.txt").write_text("\n".join(hostile))
    for seed, text in enumerate(hostile):
        file = tmp_path / "images" / f"{seed} {text}.png"  # a slash in it makes a folder
        file.parent.mkdir(parents=True, exist_ok=True)
        draw(seed).save(file)
        properties = {"datetime": "2020-06-01T00:00:00Z", "platform": text}
        item = {"type": "Feature", "id": text, "bbox": [seed, 10, seed + 1, 11], "properties": properties}
        file.with_suffix(".json").write_text(json.dumps(item))
    index(tmp_path, model, tmp_path / "images")
    with served(tmp_path / "archive") as address, opened(browser, address, "?q=" + quote(HOSTILE[0])) as page:
        status(page, f"{len(hostile)} results")
        assert page.locator("#q").input_value() == HOSTILE[0]
        page.get_by_role("button", name="Captions for result 1", exact=True).click()
        status(page, "Captions for result 1:")
        shown = page.locator("#results").inner_text()
        assert all(Path(f"{seed} {text}.png").name in shown for seed, text in enumerate(hostile))
        page.wait_for_timeout(300)
        assert page.evaluate("[top.attacked, document.getElementById('attacked'), document.scripts.length]") == [
            None,
            None,
            1,
        ]
        assert page.locator("iframe, main style").count() == 0 and page.locator("#results").is_visible()


def test_the_accessibility_checker_finds_nothing_serious(page):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    page.locator("#q").fill("boats")
    page.keyboard.press("Enter")
    status(page, "20 results")
    page.locator("summary").click()
    violations = axe.Axe().run(page).response["violations"]
    assert [(found["id"], found["help"]) for found in violations if found["impact"] in ("serious", "critical")] == []
