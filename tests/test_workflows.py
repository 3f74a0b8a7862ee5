"""The workflows for GitHub: pinned, and allowed no more than they need."""

import re

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_permissions_least(path):
    text = path.read_text()
    workflow = yaml.safe_load(text)
    uses = re.findall(r"uses: (.*)", text)
    assert uses and all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in uses)
    assert "pull_request_target" not in text
    for job in workflow["jobs"].values():
        writes = [
            scope for scope, right in (workflow["permissions"] | job.get("permissions", {})).items() if right == "write"
        ]
        runs = "\n".join(step.get("run", "") for step in job["steps"])
        assert "${{" not in runs  # a branch's name is no code
        assert not writes or not any("checkout" in step.get("uses", "") for step in job["steps"])
