"""dvc.yaml against the code: each stage declares the modules it imports, all of them and no others."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SOURCE = ROOT / "src"
# parameters reach a stage as tracked values, so the code that parses them shapes no result but configure's
PARAMS = {"src/iebaker/params.py", "src/iebaker/declarations.py"}


def module_files(name: str) -> list[Path]:
    """Files that importing `name` runs: the module and its packages."""
    parts, files = name.split("."), []
    for length in range(1, len(parts) + 1):
        path = SOURCE.joinpath(*parts[:length])
        files += [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()]
    return files


def imported(file: Path) -> set[Path]:
    """Files of iebaker that `file` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {path for name in names if name.startswith("iebaker") for path in module_files(name)}


def closure(script: Path) -> set[str]:
    """All files of iebaker that a script depends on, relative to the repository; empty ones don't count."""
    found, pending = set(), imported(script)
    while pending:
        file = pending.pop()
        found.add(file)
        pending |= imported(file) - found
    return {path.relative_to(ROOT).as_posix() for path in found if path.stat().st_size} - {"src/iebaker/__init__.py"}


@pytest.mark.parametrize("stage", STAGES)
def test_stage_declares_the_modules_it_imports(stage):
    script = STAGES[stage]["cmd"].split()[1]
    declared = [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]
    assert script in STAGES[stage]["deps"]
    used = closure(ROOT / script) - (PARAMS if stage != "configure" else set())
    missing = {file for file in used if not any(file == dep or file.startswith(f"{dep}/") for dep in declared)}
    unused = {dep for dep in declared if not any(file == dep or file.startswith(f"{dep}/") for file in used)}
    assert (missing, unused) == (set(), set())


def test_scripts_are_short_and_all_are_stages():
    scripts = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "pipeline").glob("*.py")}
    assert max(scripts.values()) <= 80
    run = {STAGES[stage]["cmd"].split()[1].removeprefix("pipeline/") for stage in STAGES}
    assert set(scripts) - run == {"common.py", "prune.py", "collect_sweep.py", "keep_study.py"}


def test_no_tracked_parameter_is_invisible_to_dvc():
    """DVC's run cache leaves keys named `size` and `nfiles` out of its hash, wherever they are nested."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())

    def hidden(value) -> bool:
        return isinstance(value, dict) and any(key in ("size", "nfiles") or hidden(value[key]) for key in value)

    assert hidden(params)
    for stage, content in STAGES.items():
        for name in content.get("params", []):
            value = params
            for part in re.sub(r"\.\$\{.*", "", name).split("."):
                value = value[part]
            assert not hidden(value), f"{stage}: {name}"
