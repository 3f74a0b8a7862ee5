"""The report is complete, self-contained, and opens in a real browser."""

import json
import re
import shutil
import subprocess
from contextlib import chdir
from html.parser import HTMLParser

import pytest
import yaml
from report_fixtures import QUALITY, made_up_project, run_script  # noqa: F401

from iebaker.project import study
from iebaker.project.parameters import load_params
from iebaker.report import html, published

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync "
    "--no-first-run --hide-scrollbars --allow-file-access-from-files --enable-logging=stderr "
    "--virtual-time-budget=10000"
).split()
# headless windows have a smallest width; a frame has the width it is given
PROBE = """<!doctype html><iframe src="{page}" style="width:{width}px;height:900px;border:0"></iframe><pre></pre>
<script>onload = () => {{
  const page = document.querySelector("iframe").contentDocument, images = [...page.images];
  document.querySelector("pre").textContent = JSON.stringify({{
    width: page.documentElement.clientWidth, scroll: page.documentElement.scrollWidth,
    images: images.length, broken: images.filter(image => !image.naturalWidth).length,
    tables: page.querySelectorAll("table").length,
    visible: images.filter(image => image.getBoundingClientRect().width > 20).length}});
}}</script>"""


@pytest.fixture(scope="module")
def page(project):
    """The report of a project that also keeps metrics of a benchmark it did not train on."""
    kept = project / "reports/metrics/rsicd/full.json"
    kept.parent.mkdir(exist_ok=True)
    metrics = json.loads((project / "reports/metrics/synthetic/full.json").read_text())
    kept.write_text(json.dumps({"rsicd": metrics["synthetic"]}))
    with chdir(project):
        study.keep(load_params(), "both_seeds", "synthetic")
    run_script("report", cwd=project)
    return project / "reports/index.html"


class Document(HTMLParser):
    """Tags that were opened and never closed, and addresses that would be fetched."""

    VOID = {"meta", "link", "img", "br"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.ids = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        values = dict(attributes)
        self.addresses += [values[key] for key in ("src", "href") if values.get(key)]
        self.ids += [values["id"]] if "id" in values else []

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_page_is_self_contained_and_small(page):
    text = page.read_text()
    document = Document(text)
    assert document.open == []
    assert all(address.startswith(("data:", "#")) for address in document.addresses)
    assert {address[1:] for address in document.addresses if address[0] == "#"} <= set(document.ids)
    assert len(document.ids) == len(set(document.ids))
    assert "url(http" not in text and "@import" not in text and "<script" not in text
    assert page.stat().st_size < 5e6


def test_the_trained_models_separation_is_shown(page):
    assert "global, trained model, all pairs" in page.read_text()


def test_a_kept_study_is_shown_and_holds_its_numbers(page, project):
    kept, metrics = project / "reports/studies/both_seeds", project / "reports/metrics/synthetic"
    assert "Study: both seeds, ablation" in page.read_text()
    assert (kept / "full.json").read_bytes() == (metrics / "full.json").read_bytes()
    assert (kept / "ablation.csv").read_bytes() == (project / "reports/ablation/synthetic/ablation.csv").read_bytes()


def test_page_says_what_the_metrics_say(page, project):
    text = page.read_text()
    for variant in QUALITY:
        test = json.loads((project / f"reports/metrics/synthetic/{variant}.json").read_text())["synthetic"]["test"]
        assert f"<b>{test['plain']['mR']:.2f}</b>" in text and f"<b>{test['sar']['mR']:.2f}</b>" in text
    for row in published.published("rsicd"):
        assert row["source"] in text and f"<td><b>{row['mR']:.2f}</b></td>" in text


def test_every_reranked_number_says_whether_it_is_transductive(page):
    rows = re.findall(r'<tr class="sar">.*?</tr>', page.read_text(), re.DOTALL)
    assert len(rows) == 2 * (len(QUALITY) + 1)
    assert all("transductive" in row for row in rows)
    visible = re.sub(r'data:[^"]*', "", page.read_text())
    assert "after SAR" in visible
    assert not re.search(r'after SAR(?! \()(?!\s*<span class="badge)', visible)


def test_every_choice_of_reranking_is_shown(page, project):
    section = page.read_text().split('<section id="reranking">')[1].split("</section>")[0]
    chosen = (project / "reports/ablation/synthetic/reranking.csv").read_text().splitlines()[1:]
    assert section.count("<tr><td>") == len(chosen) == 2 * 2 * len(QUALITY)


def test_exchanged_captions_are_not_set_against_published_numbers(project):
    params = yaml.safe_load((project / "params.yaml").read_text())
    assert (
        html.definition(params, "rsicd-mismatched")["corrupted"] and not html.definition(params, "rsicd")["corrupted"]
    )
    assert html.definition(params, "undefined") == {"backbone": "–", "corrupted": False}


def test_times_stay_beside_the_page(page, project):
    before, machine = page.read_bytes(), page.with_name("machine.md").read_text()
    assert machine.count("| cpu | 41.5 | 38.0 | 730.0 |") == 2 * len(QUALITY) and "730" not in visible_text(page)
    shutil.move(project / "data/logs", project / "data/away")
    try:
        run_script("report", cwd=project)
        assert page.read_bytes() == before
        assert "No training of the selected corpora ran here" in page.with_name("machine.md").read_text()
    finally:
        shutil.move(project / "data/away", project / "data/logs")


def visible_text(page):
    return re.sub(r'data:[^"]*"', "", page.read_text())


def test_numbers_are_for_people():
    assert [html.number(None), html.number(1.234)] == ["–", "1.23"]
    assert [html.signed(-1.2), html.signed(0.5, 1)] == ["−1.20", "+0.5"]
    assert [html.p_value(0.0001), html.p_value(0.04)] == ["< 0.001", "0.040"]
    assert html.share(0.951) == "95.1%"


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the report was not opened in a browser")
@pytest.mark.parametrize("width", [1280, 390])
def test_browser_shows_it_without_errors(page, width, tmp_path):
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=page.as_uri(), width=width))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, probe.as_uri()], capture_output=True, text=True, timeout=120)
    assert "CONSOLE" not in done.stderr
    found = json.loads(re.search(r"<pre>(.*?)</pre>", done.stdout).group(1))
    assert found["width"] == width and found["scroll"] == width
    assert found["images"] > 60 and found["broken"] == 0 and found["visible"] == found["images"]
    assert found["tables"] >= 10
