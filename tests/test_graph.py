"""dvc.yaml against the code: each stage declares the modules it imports, all of them and no others."""

import ast
import re
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
SOURCE = ROOT / "src"
# what draws the embedded benchmark reaches download as a digest in data/sources, so that no other one depends on it
DIGESTED = {"download": ["src/iebaker/scenes"]}
MOST_SOURCES = 8  # of a stage: more is a list that nobody reads
# what shapes no result: how errors are shown and files written, where files lie, how memory is kept, and parameters,
# which reach a stage as tracked values or as files that are dependencies themselves
SHAPES_NOTHING = (
    "pipeline/common.py",
    "src/iebaker/__init__.py",
    "src/iebaker/errors.py",
    "src/iebaker/atomic.py",
    "src/iebaker/layout.py",
    "src/iebaker/process.py",
    "src/iebaker/project/parameters.py",
)


def module_files(name: str) -> list[Path]:
    """Files that importing `name` runs: the module and its packages."""
    parts, files = name.split("."), []
    for length in range(1, len(parts) + 1):
        path = SOURCE.joinpath(*parts[:length])
        files += [file for file in (path / "__init__.py", path.with_suffix(".py")) if file.exists()]
    return files


def imported(file: Path) -> set[Path]:
    """Files of this project that `file` imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    shared = {ROOT / "pipeline/common.py"} if "common" in names else set()
    return shared | {path for name in names if name.split(".")[0] == "iebaker" for path in module_files(name)}


def is_marker(file: Path) -> bool:
    """Whether it is a package's __init__.py that holds nothing but a docstring."""
    body = ast.parse(file.read_text()).body
    return file.name == "__init__.py" and all(
        isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in body
    )


def closure(script: Path) -> set[str]:
    """All files that a script depends on, relative to the repository, but for those that only mark rooms."""
    found, pending = set(), imported(script)
    while pending:
        file = pending.pop()
        found.add(file)
        pending |= imported(file) - found
    return {path.relative_to(ROOT).as_posix() for path in found if not is_marker(path)}


def covers(dependency: str, file: str) -> bool:
    return file == dependency or file.startswith(f"{dependency}/")


def sources(stage: str) -> list[str]:
    return [dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


def script(stage: str) -> str:
    return STAGES[stage]["cmd"].split()[1]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_declares_the_modules_it_imports(stage):
    ignored = [*SHAPES_NOTHING, *(["src/iebaker/config"] if stage != "configure" else []), *DIGESTED.get(stage, [])]
    used = {file for file in closure(ROOT / script(stage)) if not any(covers(place, file) for place in ignored)}
    missing = {file for file in used if not any(covers(dep, file) for dep in sources(stage))}
    unused = {dep for dep in sources(stage) if not any(covers(dep, file) for file in used)}
    assert (missing, unused) == (set(), set())
    assert script(stage) in STAGES[stage]["deps"] and len(sources(stage)) <= MOST_SOURCES
    assert all((ROOT / dep).exists() for dep in sources(stage))


def test_what_is_ignored_is_used():
    """No name in the list above outlives its module."""
    used = set().union(*(closure(ROOT / script(stage)) for stage in STAGES))
    assert set(SHAPES_NOTHING) <= used


def test_what_does_not_train_is_no_dependency_of_training():
    assert not [dep for dep in sources("train") if covers("src/iebaker/datasets", dep)]
    for file in ("src/iebaker/datasets/prepare.py", "src/iebaker/metrics/ceiling.py", "src/iebaker/report/html.py"):
        assert (ROOT / file).exists() and not any(covers(dep, file) for dep in sources("train"))


def test_scripts_are_short_and_all_are_stages():
    scripts = {path.name: len(path.read_text().splitlines()) for path in (ROOT / "pipeline").glob("*.py")}
    assert max(scripts.values()) <= 80
    assert set(scripts) - {script(stage).removeprefix("pipeline/") for stage in STAGES} == {"common.py"}


def test_names_reach_the_shell_in_quotes():
    """A name that a user chose is one argument, whatever it holds."""
    for stage, content in STAGES.items():
        # as a whole: DVC quotes the values of a dictionary, and only those
        assert re.findall(r"\$\{.*?\}", content["cmd"]) == ["${item}"] * ("matrix" in content), stage


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
