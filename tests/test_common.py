"""What the stages' scripts share."""

import os
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from report_fixtures import run_script

SCRIPT = """
\"\"\"Fail: `stage.py CORPUS`.\"\"\"
import sys
sys.path.insert(0, {pipeline!r})
from common import run
from iebaker.metrics.recall import relevance
def main(corpus):
    {line}
run(main)
"""


@pytest.mark.parametrize(
    ("line", "says", "traceback"),
    [
        ("relevance([0, 2])", "stage.py x: image 1 has no text", False),
        ("from common import check_name; check_name('../x')", "'../x' is no name", False),
        ("int('x')", "invalid literal", True),
        ("relevance('abc')", "abc", True),  # a bug within the package is no message for anybody
        ("raise KeyboardInterrupt", "stage.py x: interrupted", False),
    ],
)
def test_only_messages_made_for_people_lose_their_traceback(line, says, traceback, tmp_path):
    """Wherever the project lies: a folder called iebaker makes no message of anybody's bug."""
    script = tmp_path / "iebaker" / "stage.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(pipeline=str(ROOT / "pipeline"), line=line))
    done = subprocess.run([sys.executable, script, "x"], capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr and ("Traceback" in done.stderr) == traceback
    usage = subprocess.run([sys.executable, script, "x", "y"], capture_output=True, text=True)
    assert usage.returncode == 1 and "wrong number of arguments. Fail: `stage.py CORPUS`" in usage.stderr


def project(folder, **changes):
    params = yaml.safe_load((ROOT / "params.yaml").read_text()) | changes
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    return folder


@pytest.mark.parametrize("corpora", [["../.."], "synthetic", []])
def test_prune_removes_nothing_by_a_wrong_selection(corpora, tmp_path):
    kept = project(tmp_path, corpora=corpora) / "reports/metrics/synthetic/full.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(ValueError, match="corpora"):
        run_script("prune", cwd=tmp_path)
    assert kept.exists()


@pytest.mark.parametrize("name", ["../../thesis", ".", "/tmp", ""])
def test_studies_have_names_and_no_places(name, tmp_path):
    for script, arguments in (("keep_study", ["synthetic"]), ("collect_sweep", ["eba.drop_ratio"])):
        with pytest.raises(ValueError, match="is no name"):
            run_script(script, name, *arguments, cwd=project(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


def test_a_study_is_kept_until_the_next_is_complete(tmp_path):
    kept = project(tmp_path) / "reports/studies/mine/full.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    with pytest.raises(ValueError, match=r"reports/ablation/nope/ablation.csv.* not there"):
        run_script("keep_study", "mine", "nope", cwd=tmp_path)
    assert kept.exists()


def test_a_stage_run_by_hand_leaves_the_cache_alone(tmp_path):
    """DVC links its outs into the cache; writing into such a file would corrupt both."""
    out = project(tmp_path) / "data/config/synthetic/full.yaml"
    out.parent.mkdir(parents=True)
    (tmp_path / "cached").write_text("cached")
    os.link(tmp_path / "cached", out)
    run_script("configure", "synthetic", "full", cwd=tmp_path)
    assert (tmp_path / "cached").read_text() == "cached" and "epochs" in out.read_text()
