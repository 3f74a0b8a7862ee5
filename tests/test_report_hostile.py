"""Captions, names and params.yaml of somebody who wishes the reader ill, in the report, its tables and a browser."""

import json
import re
import shutil
import subprocess

import pandas as pd
import pytest
from report_fixtures import made_up_project, run_script  # noqa: F401
from test_report_html import CHROMIUM, FLAGS, Document

from iebaker.errors import IebakerError
from iebaker.report.shareable import shareable, visible
from iebaker.search.output import CSV_COLUMNS, as_csv

HOSTILE = [
    "<script>top.attacked = 1</script>",
    "</script><script>top.attacked = 1</script>",
    "<img src=x onerror='top.attacked = 1'>",
    '"><svg onload="top.attacked = 1"><animate onbegin="top.attacked = 1">',
    "</td></tr></table></main><h1 id=attacked>mine</h1>",
    "<iframe srcdoc='<script>top.attacked = 1</script>'></iframe>",
    "<style>main { display: none }</style>",
    "{{ 7 * 7 }} {% for x in y %} ${7*7}",
    "javascript:top.attacked=1",
    "=HYPERLINK('http://x', 'y') @SUM(1) +1 -1",
    "\u202eegami na \u2066of\u2067 a port\u200f",
    "zero\x00byte \x1b[31mred\x07 \x85next",
    "w" * 4000,
    "\n" * 50,
    "&#60;b&#62; &lt;b&gt; &amp;",
]
PROBE = """<!doctype html><iframe src="{page}" style="width:1280px;height:900px;border:0"></iframe><pre></pre>
<script>onload = () => setTimeout(() => {{
  const page = document.querySelector("iframe").contentDocument;
  document.querySelector("pre").textContent = JSON.stringify({{
    attacked: window.attacked || null, mine: page.getElementById("attacked") !== null,
    scroll: page.documentElement.scrollWidth, scripts: page.scripts.length,
    frames: page.querySelectorAll("iframe").length, styles: page.querySelectorAll("style").length,
    shown: getComputedStyle(page.querySelector("main")).display,
    seen: page.body.textContent.includes("<script>top.attacked = 1")}});
}}, 500)</script>"""
SECRETS = """
# see https://me:s3cret@example.org/data?token=s3cret#s3cret and /home/somebody/private/set, hf_AbCdEf0123456789AbCd
# a corpus/variant stays, and so do 50/50, and/or, data/raw/*.png and https://example.org/open/data.zip
"""


@pytest.fixture(scope="module")
def hostile(project, tmp_path_factory):
    """The report over captions and parameters of an attacker."""
    folder = shutil.copytree(project, tmp_path_factory.mktemp("hostile") / "project")
    for file in [*folder.rglob("texts.parquet"), *folder.rglob("last_epoch.parquet")]:
        table = pd.read_parquet(file)
        table["caption"] = [HOSTILE[row % len(HOSTILE)] for row in range(len(table))]
        table.to_parquet(file, index=False)
    with (folder / "params.yaml").open("a") as params:
        params.write(SECRETS)
    run_script("report", cwd=folder)
    return folder / "reports/index.html"


def test_nothing_of_it_becomes_markup(hostile):
    text = hostile.read_text()
    document = Document(text)
    assert document.open == [] and "attacked" not in document.ids and "<script" not in text
    assert all(address.startswith(("data:", "#")) for address in document.addresses)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200f\u202e\u2066\u2067]", text)
    assert "s3cret" not in text and "/home/somebody" not in text and "hf_AbC" not in text
    for kept in ("corpus/variant", "50/50", "and/or", "data/raw/*.png", "https://example.org/open/data.zip", "…/set"):
        assert kept in text


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: the report was not opened in a browser")
def test_nothing_of_it_acts_in_a_browser(hostile, tmp_path):
    probe = tmp_path / "probe.html"
    probe.write_text(PROBE.format(page=hostile.as_uri()))
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000", "--dump-dom"]
    done = subprocess.run([*command, probe.as_uri()], capture_output=True, text=True, timeout=120)
    found = json.loads(re.search(r"<pre>(.*?)</pre>", done.stdout).group(1))
    expected = {"attacked": None, "mine": False, "scroll": 1280, "scripts": 0, "frames": 0, "styles": 1}
    assert found == expected | {"shown": "block", "seen": True}


def test_what_is_shareable():
    assert shareable("source: 'https://u:p@h.org/a.zip?key=1'") == "source: 'https://h.org/a.zip?…'"
    assert shareable("pretrained: /home/me/weights.pt") == "pretrained: …/weights.pt"
    assert shareable("name: 'local-dir:/home/me/my model'") == "name: 'local-dir:…/my model'"
    assert shareable(r"{a: ~/x/y.json, b: C:\Users\me\z}") == r"{a: …/y.json, b: …\z}".replace("\\", "/")
    for harmless in ("hf://datasets/a/b@main/data/*.parquet", "mAP/R@1, 3 / 4", "[a/b, 'c/d']", "'a b'", "t2i/i2t"):
        assert shareable(harmless) == harmless
    assert visible(7) == 7 and visible("a\tb\nc") == "a\tb\nc"


def test_no_formula_in_a_table():
    hit = dict.fromkeys(CSV_COLUMNS, None) | {"score": -0.5}
    table = as_csv([hit | {"path": path} for path in ("=cmd()|'x'", "@x", "a=b", "-1.jpg")])
    assert [line.split(",")[1] for line in table.splitlines()[1:]] == ["'=cmd()|'x'", "'@x", "a=b", "'-1.jpg"]
    assert ",-0.5," in table


@pytest.mark.parametrize("content", ['{"rsicd": {"te', "", "[1]", '{"rsicd": 3}', '{"rsicd": {"test": 3}}', "\x00"])
def test_half_a_json_of_another_corpus_is_named(content, project):
    file = project / "reports/metrics/other/full.json"
    file.parent.mkdir()
    file.write_text(content)
    try:
        with pytest.raises(IebakerError, match="reports/metrics/other/full.json: .*git"):
            run_script("report", cwd=project)
    finally:
        shutil.rmtree(file.parent)
