"""The commands that measure search: each measures what a search does."""

import json

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, quoted
from search_fixtures import CAPTIONS, write_images, write_model
from typer.testing import CliRunner

from iebaker.cli import app
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.retrieval.foreign import sar_params
from iebaker.retrieval.rerank.selection import Choice
from iebaker.search import bench, evaluation, lance
from iebaker.search.archive import Archive
from iebaker.search.evaluation import Judged
from iebaker.search.query import Searcher, Term


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two archives of one model, and captions of their images."""
    root = tmp_path_factory.mktemp("measures")
    model = write_model(root / "model")
    for name, seeds in (("test", range(70)), ("val", range(100, 140))):
        images = write_images(root / name, seeds)
        told = ["--model", model, "--images", images, "--tokens", "--captions", model / "captions.txt"]
        assert run("index", root / f"{name}-archive", *told).exit_code == 0
        rows = [(f"{seed:04d}.png", CAPTIONS[(seed + n) % len(CAPTIONS)]) for seed in seeds for n in range(2)]
        pd.DataFrame(rows, columns=["filename", "caption"]).to_csv(root / f"{name}.csv", index=False)
    return root


@pytest.fixture(scope="module")
def judged(place):
    return Judged.read(Searcher(Archive(place / "test-archive")), place / "test.csv")


def test_the_command_reports_every_measure(place, judged, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "REQUESTS", 60)
    options = ["--captions", place / "test.csv", "--val", place / "val-archive", "--val-captions", place / "val.csv"]
    done = run("search-eval", place / "test-archive", *options, "--serve", "--out", tmp_path / "out.json")
    assert done.exit_code == 0, done.stderr
    measured = json.loads((tmp_path / "out.json").read_text())
    assert (measured["images"], measured["captions"], measured["bank"]) == (70, 140, len(CAPTIONS))
    similarity = np.concatenate([judged.searcher.embedder.texts([text])[0] for text in judged.captions])
    similarity = similarity @ judged.searcher.archive.vectors.T
    np.testing.assert_allclose(judged.similarity, similarity, atol=1e-5)
    plain = recalls(hits(judged.similarity, judged.similarity, relevance(judged.row_of_caption)))
    assert measured["sar"]["plain"] == pytest.approx(plain)
    assert {"sort", "weighted", "querybank", "transductive"} < measured["sar"].keys()
    assert measured["two_stages"]["70"] == 1 and 0.5 < measured["two_stages"]["50"] <= 1
    assert 0 < measured["relevant_auroc"]["cosine"] < 1
    assert 0 < measured["served"]["p50_ms"] <= measured["served"]["p95_ms"]


@pytest.mark.parametrize(
    "choice",
    [Choice("sort", 1.0, {"candidates": 10}), Choice("querybank", 1.0, {"beta": 2.0, "strength": 0.5})],
    ids=lambda choice: choice.method,
)
def test_single_query_sar_is_measured_as_a_search_does_it(judged, choice):
    choice = Choice(choice.method, judged.searcher.deviation, choice.parameters)
    values = evaluation.single_query(choice, judged)
    sar = sar_params(choice.method, [f"{name}={value}" for name, value in choice.parameters.items()])
    for query in (0, 33, 139):
        found = judged.searcher.search([Term(judged.captions[query])], 10, candidates=70, sar=sar)
        assert [hit.row for hit in found] == np.lexsort((-judged.similarity[query], -values[query]))[:10].tolist()


def test_confidence_is_judged_on_what_is_shown(judged):
    found = evaluation.relevance_auroc(judged)
    carried = relevance(judged.row_of_caption, judged.captions).toarray()
    shown = np.argsort(-judged.similarity, axis=1, kind="stable")[:, : evaluation.SHOWN]
    assert found["relevant_percent"] == round(100 * np.take_along_axis(carried, shown, axis=1).mean(), 2)


@pytest.mark.parametrize(
    ("text", "says"),
    [("file,caption\na,b\n", "filename and caption are needed"), ("filename,caption\n9.png,b\n", "9.png is not in")],
)
def test_wrong_captions_are_explained(place, judged, tmp_path, text, says):
    (tmp_path / "wrong.csv").write_text(text)
    with pytest.raises(ValueError, match=says):
        Judged.read(judged.searcher, tmp_path / "wrong.csv")


@pytest.mark.parametrize("like", [False, True])
def test_the_bench_measures_both_stores(judged, tmp_path, monkeypatch, like):
    pytest.importorskip("lancedb", reason="the extra search is not installed")
    monkeypatch.setattr(lance, "INDEXED_FROM", 2000)
    monkeypatch.setattr(lance, "PARTITION", 256)
    parts = list(bench.made(3000, 48, judged.searcher.archive.folder if like else None))
    np.testing.assert_allclose(np.linalg.norm(np.concatenate(parts), axis=1), 1, atol=1e-5)
    archive = bench.write_archive(tmp_path / "archive", parts)
    assert len(archive.vectors) == 3000 and lance.refresh(archive).rows == 3000
    exact, truth = bench._exact(archive.folder)
    found = bench._approximate(archive.folder, truth)
    assert exact["exact_p50_ms"] > 0 and len(truth) == bench.QUERIES and found["recall"] > 0.9


def test_the_bench_measures_each_store_in_a_process_of_its_own(tmp_path):
    done = run("bench-search", "--rows", 300, "--width", 16, "--out", tmp_path / "out.json")
    (row,) = json.loads((tmp_path / "out.json").read_text())["table"]
    assert done.exit_code == 0 and row["rows"] == 300 and row["probes"] is None
    assert row["exact_to_numpy"] > 0 and row["scan_mb"] == pytest.approx(300 * 16 * 4 / 1e6, abs=0.1)


def of(value, unit="", digits=0):
    return "-" if value is None else f"{value:,.{digits}f}{unit}"


def scale_line(row):
    """A row of docs/search.md's table of sizes."""
    index = [row.get(name) for name in ("index_p50_ms", "index_p95_ms", "recall", "index_memory_mb", "table_mb")]
    cells = [
        f"{row['vectors']}, {row['rows']:,}",
        of(row["numpy_p50_ms"], digits=1),
        f"{row['exact_p50_ms']:,.1f}, {row['exact_p95_ms']:,.1f} ({row['exact_to_numpy']:.2f})",
        f"{of(index[0], digits=1)}, {of(index[1], digits=1)}",
        of(index[2], digits=3),
        f"{of(row['exact_memory_mb'])}, {of(index[3])}",
        f"{of(row['shards_mb'])}, {of(row['scan_mb'])}, {of(index[4])}",
        of(row["load"]),
    ]
    return f"| {' | '.join(cells)} |"


def readme_line(row):
    """A row of the README's table of sizes."""
    index = "-"
    if row["probes"]:
        index = f"{row['index_p50_ms']:.0f}, {row['index_p95_ms']:.0f} ({row['recall']:.2f})"
    cells = [
        f"{row['rows']:,}",
        of(row["numpy_p50_ms"], digits=1),
        f"{of(row['exact_p50_ms'], digits=1)}, {of(row['exact_p95_ms'], digits=1)}",
        index,
        f"{of(row['exact_memory_mb'])}, {of(row.get('index_memory_mb'))}",
        f"{of(row['shards_mb'])}, {of(row['table_mb'])}",
    ]
    return f"| {' | '.join(cells)} |"


def sar_line(method, found):
    """A row of docs/search.md's table of single-query SAR."""
    ranks = ", ".join(f"{found[f't2i_R@{rank}']:.1f}" for rank in (1, 5, 10))
    return f"| `{method}` | {ranks} | {found['mR']:.1f} |"


def test_the_page_shows_what_was_measured():
    page = (ROOT / "docs/search.md").read_text()
    scale = json.loads(quoted("reports/search/scale.json"))
    rsicd = json.loads(quoted("reports/search/rsicd.json"))
    missing = [line for line in map(scale_line, scale["table"]) if line not in page]
    readme, random = (ROOT / "README.md").read_text(), [row for row in scale["table"] if row["vectors"] == "random"]
    missing += [line for line in map(readme_line, random) if line not in readme]
    missing += [line for line in (sar_line(*one) for one in rsicd["sar"].items()) if line not in page]
    auroc, stages, served = rsicd["relevant_auroc"], rsicd["two_stages"], rsicd["served"]
    missing += [
        text
        for text in (
            f"{auroc['cosine']:.3f} by cosine and {auroc['confidence']:.3f} by confidence",
            f"{100 * stages['50']:.1f}% of them with 50 candidates and {100 * stages['200']:.1f}% with 200",
            f"p50 {served['p50_ms'] / 1000:.1f} s and p95 {served['p95_ms'] / 1000:.1f} s",
        )
        if text not in page
    ]
    assert missing == []
