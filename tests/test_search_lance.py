"""The LanceDB table against the shards, which are the truth."""

import json
import sys
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
from search_fixtures import write_archive, write_images, write_model
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.errors import IebakerError
from iebaker.search import lance
from iebaker.search.archive import LOCAL, Archive
from iebaker.search.query import Searcher, Term
from iebaker.search.scan import Scan
from iebaker.search.store import open_store

pytest.importorskip("lancedb", reason="the extra search is not installed")
FILTERS = [
    (None, None),
    ("sensor == 'S2'", None),
    ("sensor not in ('S2', \"it's\")", None),
    ("not (gsd > 5 or sensor == 'S2')", None),
    ("datetime >= '2022-06-01' and datetime < '2024-01-01T00:00:00Z'", None),
    ("id == 'far/0000007'", None),
    (None, (0, -20, 40, 20)),
    (None, (175, -90, -175, 90)),
    ("gsd <= 3", (-180, -90, 180, 90)),
    ("sensor == 'none'", None),
]


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """3,000 random vectors, a part with places, times and sensors, and a table without an index."""
    generator = np.random.default_rng(0)

    def place(row):
        if row % 3 == 0:
            return None, None, None, None
        west, south = generator.uniform(-180, 180), generator.uniform(-80, 70)
        east = (west + generator.uniform(0, 20) + 180) % 360 - 180
        time = datetime(2020 + row % 5, 1 + row % 12, 3, tzinfo=UTC)
        return (west, south, east, south + 5), time, ["S2", "it's", None, "L8"][row % 7 % 4], float(row % 11)

    archive = write_archive(tmp_path_factory.mktemp("lance") / "archive", generator.normal(size=(3000, 24)), place)
    return tabled(archive, archive.folder / "table")


def tabled(archive, place):
    """The archive with a table where it is told to be."""
    (archive.folder / LOCAL / "places.json").write_text(json.dumps({"request": {"table": str(place)}}))
    archive = Archive(archive.folder)
    assert lance.refresh(archive).rows == len(archive.vectors)
    return archive


@pytest.mark.parametrize(("where", "box"), FILTERS)
def test_table_and_shards_give_the_same_hits(archive, where, box):
    table, scan = open_store(archive), Scan(archive)
    assert isinstance(table, lance.Table) and isinstance(open_store(archive, exact=True), Scan)
    queries = np.random.default_rng(1).normal(size=(5, 24)).astype(np.float32)
    with ThreadPoolExecutor(5) as pool:  # as a server asks
        results = list(pool.map(lambda query: table.nearest(query, 12, where, box), queries))
    for query, found in zip(queries, results, strict=True):
        expected = scan.nearest(query, 12, where, box)
        assert np.array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
    assert (len(found[0]) == 0) == (where == "sensor == 'none'")


def test_table_and_shards_say_the_same_of_a_row(archive):
    table, scan = open_store(archive), Scan(archive)
    rows = np.array([2999, 5, 5, 0, 1200])
    columns = ["id", "href", "window", "bbox", "datetime", "sensor", "gsd"]
    assert table.take(rows, columns).to_pylist() == scan.take(rows, columns).to_pylist()
    assert np.array_equal(table.vectors(rows), scan.vectors(rows)) and len(table) == len(scan)
    assert table.column("sensor").to_pylist() == scan.column("sensor").to_pylist()


def test_an_index_reaches_its_target_and_filters_first(archive, monkeypatch, tmp_path):
    monkeypatch.setattr(lance, "INDEXED_FROM", 2000)
    monkeypatch.setattr(lance, "PARTITION", 128)
    vectors = np.random.default_rng(2).normal(size=(3000, 24))
    indexed = tabled(write_archive(tmp_path / "archive", vectors, lambda row: (None, None, "ab"[row < 4], None)),
                     tmp_path / "table")  # fmt: skip
    table = open_store(indexed)
    assert 1 < table.state.probes <= 23 and table.state.recall >= lance.TARGET
    queries = np.random.default_rng(3).normal(size=(40, 24)).astype(np.float32)
    recall = lance.recall_at(10, [table.nearest(query, 10)[0] for query in queries],
                             [Scan(indexed).nearest(query, 10)[0] for query in queries])  # fmt: skip
    assert recall >= 0.9
    for query in queries[:10]:  # the four rows lie anywhere among the partitions
        assert sorted(table.nearest(query, 10, "sensor == 'b'")[0]) == [0, 1, 2, 3]


def test_recall_leaves_a_query_out_of_its_own_neighbours():
    found, exact = [np.array([7, 1, 2])], [np.array([7, 2, 3])]
    assert lance.recall_at(2, found, exact, [7]) == 0.5
    assert lance.recall_at(2, found, exact) == 0.5 and lance.recall_at(3, found, exact) == pytest.approx(2 / 3)


def test_a_table_of_other_shards_is_not_used_and_made_again(tmp_path, monkeypatch):
    model, images = write_model(tmp_path / "model"), write_images(tmp_path / "images", range(6))
    monkeypatch.chdir(tmp_path)
    done = run("index", "a", "--model", model, "--images", images, "--table", "table")
    monkeypatch.chdir("/")
    assert f"{tmp_path / 'table'}: a table of 6 rows, exact" in done.stderr, done.stderr
    (images / "0002.png").unlink()
    from iebaker.search.commit import commit
    from iebaker.search.embedding import Embedder
    from iebaker.search.index import write_shards
    from iebaker.search.plan import Request, make_plan, remembered

    plan = make_plan(tmp_path / "a", embedder := Embedder(model), remembered(tmp_path / "a", Request()))
    write_shards(plan, embedder)
    commit(plan)  # without the table, as if killed before it
    assert isinstance(open_store(Archive(tmp_path / "a")), Scan)
    assert "a table of 5 rows" in run("index", tmp_path / "a").stderr
    hits = Searcher(Archive(tmp_path / "a")).search([Term("boats")], 9)
    assert isinstance(open_store(Archive(tmp_path / "a")), lance.Table) and len(hits) == 5
    monkeypatch.setattr(lance, "INDEXED_FROM", 4)
    monkeypatch.setattr(lance, "PARTITION", 2)
    assert "a/local: an index of 5 rows" in run("index", tmp_path / "a", "--table", "").stderr
    assert (tmp_path / "a/local/items.lance").exists()
    monkeypatch.undo()
    assert "table" in run("index", tmp_path / "a", "--table", tmp_path / "table").stderr
    assert not (tmp_path / "a/local/items.lance").exists()
    for file in Archive(tmp_path / "a").files:
        file.unlink()  # another machine may have the table alone
    assert [hit.about["id"] for hit in Searcher(Archive(tmp_path / "a")).search([Term("boats")], 9)] == [
        hit.about["id"] for hit in hits
    ]
    with pytest.raises(IebakerError, match="its shards are not here"):
        Searcher(Archive(tmp_path / "a"), exact=True).search([Term("boats")], 9)


def test_without_the_extra_searches_are_exact_and_a_table_is_refused_in_one_line(tmp_path, monkeypatch):
    model, images = write_model(tmp_path / "model"), write_images(tmp_path / "images", range(3))
    told = ["--model", model, "--images", images]
    monkeypatch.setitem(sys.modules, "lancedb", None)
    monkeypatch.setattr(lance, "INDEXED_FROM", 2)
    done = run("index", tmp_path / "a", *told)
    assert done.exit_code == 0 and "3 rows are compared one by one" in done.stderr, done.stderr
    assert done.stderr.splitlines()[-1].endswith("pip install 'iebaker[search]'")
    assert len(run("search", tmp_path / "a", "boats").stdout.splitlines()) == 3
    wrong = run("index", tmp_path / "b", *told, "--table", tmp_path / "table")
    assert wrong.exit_code == 2 and wrong.stderr.splitlines()[-1].endswith("pip install 'iebaker[search]'")


@pytest.fixture
def bucket(monkeypatch):
    """A bucket of an S3-compatible server on this machine, reached by the usual variables of the environment."""
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer("127.0.0.1", port=0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT", f"http://{host}:{port}")
    urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/archives", method="PUT"))
    yield "s3://archives"
    server.stop()


def test_a_table_on_object_storage_serves_a_machine_without_shards(bucket, tmp_path):
    vectors = np.random.default_rng(4).normal(size=(300, 24))
    place = f"{bucket}/far"
    here = tabled(write_archive(tmp_path / "a", vectors, lambda row: (None, None, "ab"[row % 2], 1.0)), place)
    for file in here.files:
        file.rename(file.with_suffix(".away"))
    table = open_store(Archive(here.folder))
    for file in here.folder.glob("shards/*.away"):
        file.rename(file.with_suffix(".parquet"))
    assert isinstance(table, lance.Table)
    for query in vectors[:5].astype(np.float32):
        found, expected = (store.nearest(query, 7, "sensor == 'a'") for store in (table, Scan(here)))
        assert np.array_equal(found[0], expected[0])
    assert not (tmp_path / "a/local/items.lance").exists()
    with pytest.raises(IebakerError, match="s3://nowhere/far: the table cannot be"):
        tabled(here, "s3://nowhere/far")
