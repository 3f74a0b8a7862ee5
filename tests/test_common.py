"""What the stages' scripts share."""

import subprocess
import sys

import pytest
from conftest import ROOT

SCRIPT = """
import sys
sys.path.insert(0, {pipeline!r})
from common import errors_for_people
from iebaker.metrics.recall import relevance
with errors_for_people():
    {line}
"""


@pytest.mark.parametrize(
    ("line", "says", "traceback"),
    [
        ("relevance([0, 2])", "image 1 has no text", False),
        ("int('x')", "invalid literal", True),
    ],
)
def test_only_messages_made_for_people_lose_their_traceback(line, says, traceback, tmp_path):
    """Wherever the project lies: a folder called iebaker makes no message of anybody's bug."""
    script = tmp_path / "iebaker" / "stage.py"
    script.parent.mkdir()
    script.write_text(SCRIPT.format(pipeline=str(ROOT / "pipeline"), line=line))
    done = subprocess.run([sys.executable, script, "corpus"], capture_output=True, text=True)
    assert done.returncode == 1 and says in done.stderr
    assert ("Traceback" in done.stderr) == traceback and done.stderr.startswith("stage.py corpus:") != traceback
