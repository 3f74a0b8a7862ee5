"""One image in a split: what can be computed is, and no stage fails after all trainings."""

import report_fixtures
from conftest import section, write_corpus

from iebaker.config.params import BenchmarkParams, SyntheticParams
from iebaker.corpus.loading import open_corpus
from iebaker.datasets import prepare
from iebaker.datasets.acquire.catalogue import acquire
from iebaker.report import figures, tables


def test_one_test_image_has_a_curve_of_one_point(tmp_path, monkeypatch):
    variants = {"baseline": 1.0}
    monkeypatch.setattr(report_fixtures, "QUALITY", variants)
    monkeypatch.setattr(report_fixtures, "SEEDS", [0])
    monkeypatch.setattr(report_fixtures, "SELECTED", report_fixtures.SELECTED | {"variants": [*variants], "seeds": [0]})
    params = BenchmarkParams(source="synthetic", image_size=32)
    tiny = section(SyntheticParams, train=30, val=2, test=1)
    acquire("synthetic", params, tiny, tmp_path / "raw/synthetic", tmp_path / "downloads")
    prepare.prepare(tmp_path / "raw/synthetic", params, tmp_path / "prepared/synthetic")
    [member] = open_corpus(
        write_corpus(tmp_path / "prepared", ["synthetic"], tmp_path / "corpora/tiny"), tmp_path / "prepared"
    )
    project = report_fixtures.write_project(tmp_path / "project", tmp_path / "prepared", member)
    table = tables.recall_at_k(report_fixtures.open_project(project))
    figures.recall_at_k(table, tmp_path / "recall_at_k.svg")
    backwards = table[table["direction"] == "text_to_image"]
    assert backwards[["K", "recall"]].drop_duplicates().to_numpy().tolist() == [[1, 100]]
