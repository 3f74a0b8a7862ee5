"""What the stages' scripts share."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT, write_params
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
        ("from iebaker.project.parameters import check_name; check_name('../x')", "'../x' is no name", False),
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


def test_an_interrupt_is_prepared_for_before_anything_slow_is_imported():
    """From the first import of every stage on, Ctrl-C ends it without an import's traceback."""
    code = f"import sys; sys.argv = [{str(ROOT / 'pipeline/train.py')!r}]; import common, signal; print(*sys.modules)"
    code += "; assert signal.getsignal(signal.SIGINT) is signal.SIG_DFL"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT / "pipeline", check=True
    )
    assert not {"yaml", "pydantic", "numpy", "pandas", "torch"} & set(done.stdout.split())
    for script in (ROOT / "pipeline").glob("[a-z]*.py"):
        lines = script.read_text().splitlines()
        imports = [line.split()[1] for line in lines if line.startswith(("import ", "from "))]
        slow = [name for name in imports if name not in sys.stdlib_module_names]
        assert slow[0] == "common" or script.name == "common.py", script


def test_arguments_by_name_as_dvc_writes_them(tmp_path):
    script = tmp_path / "stage.py"
    script.write_text(SCRIPT.format(pipeline=str(ROOT / "pipeline"), line="print([corpus])"))
    for words in (["--corpus", "--a b"], ["x"]):
        done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True)
        assert done.stdout == f"{words[-1:]}\n"
    for wrong in (["x", "y"], ["--corpus"], ["--corpse", "x"], ["--corpus", "x", "y"]):
        usage = subprocess.run([sys.executable, script, *wrong], capture_output=True, text=True)
        assert usage.returncode == 1 and "wrong arguments. Fail: `stage.py CORPUS`" in usage.stderr


def test_a_stage_run_by_hand_leaves_the_cache_alone(tmp_path):
    """DVC links its outs into the cache; writing into such a file would corrupt both."""
    out = write_params(tmp_path) / "data/config/synthetic/full/training.yaml"
    out.parent.mkdir(parents=True)
    (tmp_path / "cached").write_text("cached")
    os.link(tmp_path / "cached", out)
    run_script("configure", "synthetic", "full", cwd=tmp_path)
    assert (tmp_path / "cached").read_text() == "cached" and "epochs" in out.read_text()
