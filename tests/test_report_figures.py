"""Figures are valid SVG, the same on every run, and stand sparse tables."""

import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from report_fixtures import made_up_project, open_project  # noqa: F401

from iebaker.report import figures, style, tables


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_are_deterministic_svg(project, name, tmp_path):
    table = pd.read_csv(project / f"reports/ablation/synthetic/{name}.csv")
    figures.FIGURES[name](table, tmp_path / "again.svg")
    again = (tmp_path / "again.svg").read_bytes()
    figures.FIGURES[name](table, tmp_path / "twice.svg")
    assert again == (tmp_path / "twice.svg").read_bytes()
    assert ET.fromstring(again).tag.endswith("svg")
    assert b"dc:date" not in again and len(again) < 400_000


@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_of_one_variant_and_one_seed(project, name, tmp_path):
    results = open_project(project, variants=["baseline"], seeds=[0])
    figures.FIGURES[name](tables.TABLES[name](results), tmp_path / "one.svg")
    assert (tmp_path / "one.svg").stat().st_size > 1000


def test_elimination_without_known_weak_pairs(project, tmp_path):
    table = tables.elimination(open_project(project))
    unknown = table.drop(columns=[c for c in table if "_other" in c or "_sibling" in c or "_vague" in c])
    figures.elimination(unknown.assign(auroc=None, precision=None, recall=None), tmp_path / "unknown.svg")
    full = (tmp_path / "unknown.svg").stat().st_size
    assert 1000 < full < (project / "reports/ablation/synthetic/elimination.svg").stat().st_size


def test_fusion_without_local_similarity(tmp_path):
    figures.fusion(pd.DataFrame(columns=["benchmark", "variant", "scale", "local_weight", "mR"]), tmp_path / "none.svg")
    assert (tmp_path / "none.svg").exists()


def test_series_differ_without_colour():
    looks = [style.line_style(index) for index in range(len(style.COLOURS))]
    for key in ("color", "marker", "linestyle"):
        assert len({str(look[key]) for look in looks}) == len(looks)
    assert len({style.bar_style(index)["hatch"] for index in range(len(style.HATCHES))}) == len(style.HATCHES)


def test_legend_says_of_all_numbers_whether_they_are_transductive():
    assert style.after_sar([True, True]) == "after SAR (transductive)"
    assert style.after_sar([False, True]) == "after SAR (some transductive)"
    assert style.after_sar([False]) == "after SAR (not transductive)"
