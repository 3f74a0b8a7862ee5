import json
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from search_fixtures import CAPTIONS, draw, write_images, write_model
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.errors import IebakerError
from iebaker.method.similarity import global_similarity, local_similarity
from iebaker.model import factory
from iebaker.model.encoding import encode
from iebaker.retrieval.rerank.selection import Choice, apply
from iebaker.search import reverse
from iebaker.search.archive import Archive
from iebaker.search.local import local_of_query
from iebaker.search.query import Searcher, Term
from iebaker.search.scan import top_rows
from iebaker.search.shards import BOX
from iebaker.search.where import matching

WORDS = "two white planes near a green field"


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model, 60 images and an archive of them with tokens."""
    root = tmp_path_factory.mktemp("search")
    model = write_model(root / "model")
    images = write_images(root / "images", range(60))
    done = run("index", root / "archive", "--model", model, "--images", images, "--tokens",
               "--captions", model / "captions.txt", "--files-per-shard", 16)  # fmt: skip
    assert done.exit_code == 0 and "60 embedded" in done.stderr and "60 rows" in done.stderr, done.stderr
    return root


@pytest.fixture(scope="module")
def searcher(place):
    return Searcher(Archive(place / "archive"))


def exact_scores(place, words):
    """0.6 S + 0.4 L of all images by the functions of the evaluation."""
    model = factory.load(place / "model")
    model.read(tokens=True)
    images = encode(model.image, sorted((place / "images").glob("*.png")))
    text = encode(model.text, [words])
    local = local_similarity(text.tokens, images.tokens, text.padding)
    return (0.6 * global_similarity(text.pooled, images.pooled) + 0.4 * local)[0].numpy()


def test_two_stages_over_all_rows_equal_the_evaluation(place, searcher):
    expected = exact_scores(place, WORDS)
    hits = searcher.search([Term(WORDS)], 60, candidates=60)
    np.testing.assert_allclose([hit.score for hit in hits], np.sort(expected)[::-1], atol=2e-3)
    np.testing.assert_allclose([hit.score for hit in hits], expected[[hit.row for hit in hits]], atol=2e-3)
    few = searcher.search([Term(WORDS)], 5, candidates=20)
    assert all(hit.score == pytest.approx(expected[hit.row], abs=2e-3) for hit in few) and len(few) == 5


def test_tokens_that_were_not_kept_are_computed_again(place, searcher):
    archive = place / "tokenless"
    assert run("index", archive, "--model", place / "model", "--images", place / "images").exit_code == 0
    again = Searcher(Archive(archive)).search([Term(WORDS)], 9)
    assert [(hit.row, hit.score) for hit in again] == [
        (hit.row, pytest.approx(hit.score, abs=1e-3)) for hit in searcher.search([Term(WORDS)], 9)
    ]


def test_an_image_finds_itself_and_what_is_avoided_falls_back(searcher):
    for row in (0, 17, 59):
        assert searcher.search([Term(draw(row))], 1)[0].row == row == searcher.search([Term(row)], 1)[0].row
    both = searcher.search([Term(draw(17)), Term(draw(40))], 2)
    assert {hit.row for hit in both} == {17, 40}
    vectors = searcher.archive.vectors
    without = searcher.search([Term(17), Term(40, -1)], 60)
    expected = vectors @ (vectors[17] - vectors[40]) / 2
    assert [hit.score for hit in without] == pytest.approx(np.sort(0.6 * expected)[::-1], abs=1e-6)
    with pytest.raises(IebakerError, match="sought"):
        searcher.search([Term(draw(40), -1)])


def test_local_similarity_of_one_text_equals_that_of_all_pairs():
    generator = torch.Generator().manual_seed(0)
    text, images = torch.randn(1, 7, 16, generator=generator), torch.randn(5, 9, 16, generator=generator)
    torch.testing.assert_close(local_of_query(text[0], images), local_similarity(text, images)[0])


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 50))
def test_the_scan_orders_like_a_stable_sort(seed, rows, count):
    generator = np.random.default_rng(seed)
    vectors = generator.integers(-2, 3, (rows, 3)).astype(np.float32)  # many ties
    query = generator.integers(-2, 3, 3).astype(np.float32)
    allowed = np.flatnonzero(generator.random(rows) < 0.6)
    for chosen in (None, allowed):
        pool = np.arange(rows) if chosen is None else chosen
        expected = pool[np.argsort(-(vectors[pool] @ query), kind="stable")][:count]
        found, scores = top_rows(vectors, query, count, chosen)
        assert np.array_equal(found, expected) and np.array_equal(scores, vectors[found] @ query)


@pytest.fixture(scope="module")
def table():
    boxes = [(10, 0, 12, 2), (170, -5, -175, 5), (-180, -5, -178, 5), None, (-60, 40, -50, 50)]
    return pa.table({
        "id": ["a", "b", "c", "d", "e"],
        "href": ["x/a", "x/b", "x/c", "x/d", "x/e"],
        "sensor": ["S2", "S2", "L8", None, "L8"],
        "gsd": [10.0, 10.0, 30.0, None, 0.5],
        "datetime": pa.array([datetime(2020 + n, 6, 1, tzinfo=UTC) if n != 3 else None for n in range(5)],
                             pa.timestamp("us", tz="UTC")),
        "bbox": pa.array([box and dict(zip(BOX.names, map(float, box), strict=True)) for box in boxes], BOX),
    })  # fmt: skip


@pytest.mark.parametrize(
    ("condition", "rows"),
    [
        ("sensor == 'S2'", [0, 1]),
        ("sensor in ('L8', 'X') and not gsd < 1", [2]),
        ("datetime >= '2021-06-01' and datetime < '2024'", None),
        ("datetime >= '2021-06-01' and datetime < '2024-01-01T00:00:00Z'", [1, 2]),
        ("gsd <= 10 or id == 'c'", [0, 1, 2, 4]),
    ],
)
def test_conditions(table, condition, rows):
    if rows is None:
        with pytest.raises(IebakerError, match="compare id, href"):
            matching(table, condition)
    else:
        assert matching(table, condition).tolist() == rows


@pytest.mark.parametrize(
    "condition", ["__import__('os').system('true')", "sensor", "price > 3", "sensor == gsd", "sensor = 'S2'", "gsd >",
                  "1", "sensor == [x for x in 'ab']", "gsd == 'a'", "sensor == 3"]
)  # fmt: skip
def test_anything_but_comparisons_is_refused(table, condition):
    with pytest.raises(IebakerError, match="compare id, href"):
        matching(table, condition)


@pytest.mark.parametrize(
    ("box", "rows"),
    [
        ((0, -90, 20, 90), [0]),
        ((175, -1, 180, 1), [1, 2][:1]),
        ((175, -1, -170, 1), [1, 2]),
        ((-179, 0, -177, 1), [1, 2]),
        ((-100, 45, 100, 46), [4]),
        ((13, 3, 14, 4), []),
    ],
)
def test_boxes_meet_across_the_antimeridian(table, box, rows):
    assert matching(table, None, box).tolist() == rows


@given(st.integers(0, 2**32 - 1), st.integers(1, 3000))
def test_reverse_rank_is_exact_at_the_top_and_ordered_everywhere(seed, size):
    generator = np.random.default_rng(seed)
    bank = generator.normal(size=(size, 4)).astype(np.float32)
    images = generator.normal(size=(5, 4)).astype(np.float16)
    profiles = reverse.profile(images, bank)
    similarities = (images.astype(np.float32) @ bank.T).astype(np.float16).astype(float)
    queries = np.concatenate([similarities[:, :6], similarities[:, :6] + 1e-3, np.full((5, 1), -99.0)], axis=1)
    for column in queries.T:
        exact = 1 + (similarities > column[:, None]).sum(axis=1)
        found = reverse.reverse_rank(column, profiles, size)
        assert np.array_equal(found[exact <= reverse.EXACT], exact[exact <= reverse.EXACT])
        if size <= reverse.PROFILE:
            assert np.array_equal(found, exact)
        ranks = np.concatenate([[0], reverse.profile_ranks(size), [size + 1]])
        step = np.searchsorted(ranks, exact)
        assert np.all(found >= ranks[np.maximum(step - 1, 0)]) and np.all(
            found <= ranks[np.minimum(step + 1, len(ranks) - 1)]
        )
    order = reverse.reverse_rank(np.linspace(9, -9, 5), np.repeat(profiles[:1], 5, axis=0), size)
    assert np.all(np.diff(order) >= 0) and order[-1] <= size + 1


def test_confidence_is_the_share_of_captions_that_fit_less(searcher):
    captions, features = searcher.archive.captions
    words = captions[4]
    for hit in searcher.search([Term(words)], 10):
        similarities = features @ searcher.archive.vectors[hit.row]
        better = (similarities.astype(np.float16) > np.float16(hit.similarity)).sum()
        assert hit.confidence == pytest.approx(100 * (1 - better / len(CAPTIONS)), abs=100 / len(CAPTIONS) + 1e-9)
    assert searcher.search([Term(words), Term(3)], 1)[0].confidence is None


def test_commands_print_what_can_be_opened(place, tmp_path):
    archive = place / "archive"
    found = run("search", archive, WORDS, "-k", 3)
    paths = found.stdout.split()
    assert len(paths) == 3 and all((place / "images").joinpath(path).is_file() for path in paths)
    options = ["--html", tmp_path / "out.html", "--geojson", tmp_path / "out.geojson", "--json"]
    hits = json.loads(run("search", archive, WORDS, "-k", 3, *options).stdout)
    assert [hit["path"] for hit in hits] == paths and hits[0]["score"] >= hits[1]["score"]
    assert (tmp_path / "out.html").read_text().count("data:image/jpeg") == 3
    assert len(json.loads((tmp_path / "out.geojson").read_text())["features"]) == 3
    image = place / "images/0021.png"
    assert run("search", archive, "--image", image, "-k", 1).stdout.strip() == str(image)
    mixed = run("search", archive, "--plus", image, "--minus", "boats", "-k", 2).stdout.splitlines()
    terms = [Term(draw(21)), Term("boats", -1)]
    assert mixed == [str(place / hit.about["href"]) for hit in Searcher(Archive(archive)).search(terms, 2)]
    captions = run("caption", archive, "--image", image, "-k", 4).stdout.splitlines()
    assert len(set(captions)) == 4 and set(captions) <= set(CAPTIONS)


def test_a_moved_archive_finds_its_images_where_it_is_told(place, tmp_path):
    archive = place / "moved"
    run("index", archive, "--model", place / "model", "--images", place / "images")
    (archive / "local/places.json").unlink()
    elsewhere = write_images(tmp_path / "pictures", range(60))
    assert "name it by --model" in run("search", archive, WORDS).stderr
    found = run("search", archive, WORDS, "-k", 2, "--model", place / "model", "--images", elsewhere)
    assert all(path.startswith(str(elsewhere)) for path in found.stdout.split()) and found.exit_code == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ([], "a query needs words"),
        (["boats", "--where", "cloud < 3"], "no column cloud"),
        (["boats", "--bbox", "1,2,3"], "3 numbers, expected 4"),
        (["boats", "--bbox", "1,2,3,400"], "west,south,east,north"),
        (["--image", "nowhere.png"], "nowhere.png: no such file"),
    ],
)
def test_wrong_queries_are_explained(place, options, says):
    wrong = run("search", place / "archive", *options)
    assert wrong.exit_code == 2 and says in wrong.stderr and len(wrong.stderr.splitlines()) == 1


CHOICES = [
    Choice("sort", 1.0, {"candidates": 6}),
    Choice("weighted", 1.0, {"candidates": 6, "weight_forward": 1.0, "weight_reverse": 0.7, "decay": 0.05}),
    Choice("querybank", 0.5, {"strength": 0.3, "beta": 2.0}),
]


@pytest.mark.parametrize("choice", CHOICES, ids=lambda choice: choice.method)
def test_sar_of_one_query_is_the_family_member_with_the_bank_as_its_other_queries(choice):
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(30, 12)).round(1)
    soft = Choice("soft", choice.deviation, choice.parameters)
    for query in range(3):
        bank = scores if choice.method == "querybank" else np.delete(scores, query, axis=0)
        whole = apply(soft if choice.method == "querybank" else choice, scores, "text_to_image")[query]
        found = reverse.resort(choice, scores[query], bank)
        assert np.array_equal(np.argsort(-found, kind="stable"), np.argsort(-whole, kind="stable"))
        np.testing.assert_allclose(found, whole)


def test_search_re_sorts_its_candidates(place, searcher):
    archive = searcher.archive
    plain = json.loads(run("search", place / "archive", WORDS, "--json", "-k", 60, "--candidates", 60).stdout)
    options = ["--sar", "sort", "--set", "candidates=60", "--json", "-k", 60, "--candidates", 60]
    moved = json.loads(run("search", place / "archive", WORDS, *options).stdout)
    assert {hit["id"] for hit in moved} == {hit["id"] for hit in plain} and moved != plain
    bank = archive.captions[1] @ archive.vectors.T
    rank = [(bank[:, hit["row"]] > hit["similarity"] + 1e-5).sum() for hit in moved]
    assert rank == sorted(rank)
    assert "takes candidates=" in run("search", place / "archive", WORDS, "--sar", "sort", "--set", "beta=1").stderr


def test_indexing_again_remembers_what_it_was_told(place, tmp_path):
    images, archive = write_images(tmp_path / "images", range(4)), tmp_path / "archive"
    told = ["--model", place / "model", "--images", images / "*[02].png", "--tokens", "--fusion", "0.7,0.3"]
    assert run("index", archive, *told, "--captions", place / "model/captions.txt", "--bank-size", 5).exit_code == 0
    draw(9).save(images / "0012.png")
    again = run("index", archive)
    assert "1 embedded" in again.stderr and "2 reused" in again.stderr, again.stderr
    settings = Archive(archive).settings
    assert (settings.tokens, settings.bank_size, settings.local_weight) == (True, 5, 0.3)
    assert Archive(archive).table["href"].to_pylist() == [f"images/{name}.png" for name in ("0000", "0002", "0012")]
    run("index", archive, "--no-tokens")
    assert not Archive(archive).settings.tokens and Archive(archive).settings.local_weight == 0.3
    assert "needs --model FOLDER" in run("index", tmp_path / "new").stderr
