"""The benchmark's harness, and its numbers where pages quote them."""

import json
import signal

import numpy as np
import pytest
import torch
from conftest import ROOT, quoted

from iebaker.bench import growth, naive, run
from iebaker.bench.measure import Measurement, in_child, least_seconds
from iebaker.errors import IebakerError
from iebaker.method.similarity import local_similarity

MEASURED = json.loads(quoted("reports/benchmark.json"))
ROWS = {row["name"]: Measurement(**row) for subject in MEASURED.values() for row in subject["rows"]}


def quoting(page):
    """Each table row of a page that is named as a measurement, with its cells by column."""
    columns = []
    for line in (ROOT / page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")] if line.startswith("|") else []
        if cells and cells[0] in ROWS:
            yield cells[0], dict(zip(columns, cells, strict=True))
        elif cells and not cells[0].startswith("---"):
            columns = cells


def test_a_measurement_that_the_system_ends_says_so():
    with pytest.raises(IebakerError, match="raise_signal 9: its process was killed, perhaps for lack of memory"):
        in_child(signal.raise_signal, 9)


def test_quoted_numbers_are_those_of_the_file():
    found = dict(quoting("docs/speed.md"))
    assert found.keys() == ROWS.keys()
    for name, cells in found.items():
        expected = dict(zip(run.COLUMNS, run.cells(ROWS[name]), strict=True))
        assert cells == {column: expected[column] for column in cells}, name


def test_the_readmes_sentence_is_of_the_file():
    small, large = (ROWS[f"training step, ViT-B-32, {pairs} pairs"] for pairs in (32, 100))
    text = (
        f"takes {small.ours / small.plain:.1f} times as long as plain CLIP's and {large.ours / large.naive:.1f} times"
    )
    assert text in " ".join((ROOT / "README.md").read_text().split())


def test_what_is_written_says_what_it_ran_on_and_on_no_ones_machine(tmp_path, monkeypatch):
    row = Measurement("work", ours=2.0, naive=9.0, bound=1.0, ours_peak=3 * 10**9, note="half of it")
    lines = []

    def rows():
        yield row
        assert lines[-1].startswith("| work"), "shown when it is measured, not with the last one"

    monkeypatch.setattr("iebaker.bench.similarity.rows", rows)
    run.run(["similarity"], tmp_path / "benchmark.json", tmp_path, lines.append, None)
    assert lines[-2:] == ["| work | 2 | 9 |  | 1 | 4.50 |  | 0.50 | 3.00 |  |", "work: half of it"]
    written = json.loads((tmp_path / "benchmark.json").read_text())["similarity"]
    assert Measurement(**written["rows"][0]) == row
    assert written["hardware"].keys() == {
        "processor", "instructions", "cores", "memory_gb", "torch", "accelerator"
    }  # fmt: skip


def test_what_is_not_there_is_said_and_leaves_what_was_measured_elsewhere(tmp_path, monkeypatch):
    monkeypatch.setattr("iebaker.bench.accelerator.rows", lambda: iter([]))
    lines, file = [], tmp_path / "benchmark.json"
    file.write_text('{"accelerator": {"rows": []}}')
    run.run(["accelerator"], file, tmp_path, lines.append, None)
    assert lines[-1] == "accelerator: nothing here to measure"
    assert json.loads(file.read_text()) == {"accelerator": {"rows": []}}


def test_a_growth_table_that_goes_further_stays(tmp_path, monkeypatch):
    found = [Measurement(f"export, {5 * size} x {size}", ours=size, ours_peak=size) for size in (100, 200, 400)]
    monkeypatch.setattr(growth, "rows", lambda largest=200: iter([row for row in found if row.ours <= largest]))
    file, figure, lines = tmp_path / "benchmark.json", tmp_path / "growth.svg", []
    for largest in (None, 400, None):
        run.run(["growth"], file, tmp_path, lines.append, largest)
        if largest:
            kept = file.read_bytes(), figure.read_bytes()
    assert (file.read_bytes(), figure.read_bytes()) == kept and "keeps its table" in lines[-1]
    assert len(json.loads(kept[0])["growth"]["rows"]) == 3


def test_an_unknown_subject_is_refused(tmp_path):
    with pytest.raises(ValueError, match="speed is no benchmark; choose from similarity"):
        run.run(["speed"], tmp_path / "benchmark.json", tmp_path, print, None)


def hold(mebibytes):
    return int(np.ones(mebibytes * 2**17).sum())


def test_memory_is_that_of_the_child_alone():
    here = np.ones(300 * 2**17)  # what this process holds does not count
    (_, little), (total, much) = in_child(hold, 1), in_child(hold, 200)
    assert total == 200 * 2**17 and here.any()
    assert 190 * 2**20 < much - little < 260 * 2**20


def test_works_take_turns():
    calls = []
    times = least_seconds(2, one=lambda: calls.append(1), two=lambda: calls.append(2))
    assert calls == [1, 2, 1, 2] and set(times) == {"one", "two"} and min(times.values()) >= 0


def test_the_naive_formulation_computes_the_same():
    text, image = torch.randn(5, 7, 16), torch.randn(4, 3, 16)
    torch.testing.assert_close(naive.local_similarity(text, image), local_similarity(text, image))


def test_growth_finds_exponents_and_draws(tmp_path):
    found = [
        Measurement(f"{stage}, {5 * size} x {size}", ours=3 * size**power, ours_peak=10**9 + int(size ** (3 - power)))
        for stage, power in (("prepare", 1.0), ("rerank", 2.0))
        for size in (100, 200, 400, 800)
    ]
    series = growth.series(found)
    assert growth.exponents(series["prepare"]) == pytest.approx((1, 2))
    assert growth.exponents(series["rerank"]) == pytest.approx((2, 1))
    assert growth.exponents(series["rerank"][:2]) == pytest.approx((2, 0))
    for name in ("one.svg", "two.svg"):
        growth.draw(found, tmp_path / name)
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


@pytest.mark.parametrize("stage", growth.STAGES)
def test_every_stage_runs_at_a_small_size(stage):
    assert growth.STAGES[stage](12) > 0
