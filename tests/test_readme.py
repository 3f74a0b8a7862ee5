"""The numbers in the tables of README.md and docs/results.md are those of the committed files."""

import csv
import json
import re
from pathlib import Path

import pytest
from conftest import ROOT, quoted, run

README = (ROOT / "README.md").read_text()
RESULTS = (ROOT / "docs/results.md").read_text()
NUMBER = r"[+−-]?\d+(?:\.\d+)?"


def rows(heading: str, label: str, page: str = RESULTS) -> list[list[str]]:
    """Cells of the table rows behind `heading` whose first cell matches `label`, without markup."""
    text = page[page.index(heading) :].split("\n")
    table = text[: next(i for i, line in enumerate(text) if i > 5 and line.startswith("#"))]
    found = [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in table if "|" in line]
    chosen = [cells for cells in found if re.match(label, cells[0])]
    assert chosen, f"no row {label} below {heading}"
    return chosen


def difference_of(row: dict) -> str:
    """A row of an ablation.csv against the reference, as the tables show it; nothing for the reference."""
    if not row["difference"]:
        return ""
    names = "difference", "difference_low", "difference_high", "p_holm"
    difference, low, high, p = (float(row[name]) for name in names)
    return f"{difference:+.2f} [{low:+.2f}, {high:+.2f}], p = {p:.2g}"


def metrics(corpus: str, variant: str) -> dict:
    return json.loads(quoted(f"reports/metrics/{corpus}/{variant}.json"))


def table(path: str) -> csv.DictReader:
    return csv.DictReader(quoted(path).splitlines())


@pytest.mark.parametrize(
    "cells", rows("Test mR in percent", "embedded benchmark|RSICD", README), ids=lambda cells: cells[0]
)
def test_headline(cells):
    corpus = "rsicd" if cells[0].startswith("RSICD") else "synthetic"
    test = metrics(corpus, cells[0].split(", ")[1])[corpus]["test"]
    parts = [test[ranking] for ranking in ("plain", "sar", "plain_lenient", "ceiling")]
    mean, sar, lenient, ceiling = (part["mR"] for part in parts)
    deviations = [part.get("mR_std") for part in parts[:2]]
    low, high = parts[0]["mR_low"], parts[0]["mR_high"]
    expected = [mean, deviations[0], low, high, sar, deviations[1], lenient, ceiling]
    assert re.findall(NUMBER, " ".join(cells[1:5])) == [f"{value:.1f}" for value in expected if value is not None]


def test_ablation():
    study = "reports/studies/three_seeds"
    plain = [row for row in table(f"{study}/ablation.csv") if (row["split"], row["matrix"]) == ("test", "plain")]
    measured = {row["variant"]: row for row in plain}
    shown = rows("## Ablation on the embedded benchmark", "|".join(measured))
    assert [cells[0] for cells in shown] == list(measured)
    for variant, validation, test, difference, separation, precision in shown:
        row, numbers = measured[variant], json.loads(quoted(f"{study}/{variant}.json"))
        assert validation == f"{numbers['synthetic']['val']['plain']['mR']:.2f}"
        assert test == f"{float(row['mR']):.2f} ± {float(row['mR_std']):.2f}"
        assert difference == difference_of(row)
        trained, dropped = numbers["elimination"]["trained"], numbers["elimination"]["global"]["precision"]
        assert separation == f"{trained['auroc']:.3f}, {trained['auroc_other']:.3f}, {trained['auroc_sibling']:.3f}"
        assert precision == ("" if dropped is None else f"{dropped:.0%}")
    by_seed = [map(float, measured[variant]["mR_by_seed"].split()) for variant in ("full", "baseline")]
    leads = ", ".join(f"{full - baseline:+.1f}" for full, baseline in zip(*by_seed, strict=True))
    assert f"with each seed ({leads})" in RESULTS


def test_towers_that_learn():
    """`eba-coupled` is tested against a baseline of its own machine."""
    studies = [table(f"reports/studies/{place}/ablation.csv") for place in ("rsicd_eba", "rsicd_last_blocks")]
    compared = {(row["variant"], row["matrix"]): row for rows in studies for row in rows if row["split"] == "test"}
    shown = rows("### Towers that learn: what the parts", "baseline|eba-coupled|full")
    tracked = run("git", "ls-files", "reports/metrics/rsicd", cwd=ROOT).stdout.split()
    assert [cells[0] for cells in shown] == sorted(Path(file).stem for file in tracked)
    for variant, _, validation, *cells in shown:
        numbers = metrics("rsicd", variant)["rsicd"]
        means = [numbers["val"]["plain"], numbers["test"]["plain"], numbers["test"]["sar"]]
        assert [validation, *cells[::2]] == [f"{one['mR']:.2f} ± {one['mR_std']:.2f}" for one in means]
        for matrix, difference in zip(("plain", "sar"), cells[1::2], strict=True):
            assert difference == difference_of(compared.get((variant, matrix), {"difference": ""}))


def compared_in(study, heading):
    """Of each variant in a heading's table: its elimination and the cells behind three mR, which are the study's."""
    measured = {(row["variant"], row["split"], row["matrix"]): row for row in table(f"{study}/ablation.csv")}
    shown = rows(heading, "baseline|eba-coupled|eba-decoupled")
    assert {cells[0] for cells in shown} == {variant for variant, *_ in measured}
    for variant, *cells in shown:
        for place, found in zip((("val", "plain"), ("test", "plain"), ("test", "sar")), cells, strict=False):
            row = measured[variant, *place]
            mean = " ± ".join(f"{float(row[name]):.2f}" for name in ("mR", "mR_std") if row[name])
            assert found == "; ".join(filter(None, (mean, difference_of(row)))), place
        yield json.loads(quoted(f"{study}/{variant}.json"))["elimination"], cells[3:]


def test_exchanged_captions():
    heading = "### Does it find wrong captions in photographs?"
    for elimination, cells in compared_in("reports/studies/rsicd_mismatched", heading):
        auroc, dropped = elimination["trained"]["auroc"], elimination["global"]
        expected = [f"{auroc:.3f}"]
        expected += [f"{dropped[name]:.0%}" if dropped["precision"] else "" for name in ("precision", "recall")]
        assert cells == expected


def test_masks_of_photographs():
    for elimination, cells in compared_in("reports/studies/rsicd_local", "### Where coupled and decoupled differ"):
        for name, cell in zip(("global", "local"), cells, strict=True):
            of = elimination[name]
            assert cell == (f"{of['precision']:.0%}, {of['recall']:.0%}" if of["precision"] else "")


SWEEPS = {
    "drop_ratio": "### Over drop ratios",
    "weak_rate": "### Over shares of weak captions",
    "rsicd_drop_ratio": "### RSICD over drop ratios",
    "rsicd_start_epoch": "### RSICD over start epochs",
    "rsicd_keyword_weight": "### RSICD over keyword weights",
}
SWEPT = {
    "validation mR": ("val", "mR"),
    "test mR": ("test", "mR"),
    "dropped": ("test", "dropped_share_global"),
    "precision": ("test", "precision_global"),
    "recall": ("test", "recall_global"),
}


@pytest.mark.parametrize("sweep", SWEEPS)
def test_sweep(sweep):
    swept = table(f"reports/studies/{sweep}.csv")
    measured = {(row["split"], row["scheme"], float(row["value"])): row for row in swept}
    values, *shown = rows(SWEEPS[sweep], "(?!-)")
    for label, *cells in shown:
        name, scheme = label.split(", ")
        split, column = SWEPT[name]
        for value, cell in zip(values[1:], cells, strict=True):
            row = measured[split, scheme, float(value)]
            if column != "mR":
                assert cell == (f"{float(row[column]):.0%}" if row[column] else "–")
            else:
                deviation = f" ± {float(row['mR_std']):.1f}" if row["mR_std"] else ""
                assert cell == f"{float(row['mR']):.1f}{deviation}"
