"""`iebaker repro`: interrupted, twice at once, over stray files, and with names that are none."""

import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import yaml
from conftest import ROOT
from tiny_pipeline import TinyPipeline

from iebaker.errors import IebakerError
from iebaker.project import lock
from iebaker.project.repro import repro

Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def reproduced(tmp_path_factory) -> TinyPipeline:
    pipeline = TinyPipeline(tmp_path_factory.mktemp("repro") / "project", ["baseline", "ker", "full"])
    pipeline.dvc("repro", "-q")
    pipeline.commit()
    return pipeline


@pytest.fixture
def project(reproduced, tmp_path, monkeypatch) -> TinyPipeline:
    copy = reproduced.copy(tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    return copy


def start(project: TinyPipeline) -> subprocess.Popen:
    command = [sys.executable, "-c", "from iebaker.cli import app; app()", "repro"]
    return subprocess.Popen(
        command, cwd=project.folder, env=project.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def until(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_interrupted_and_twice_at_once(project):
    """Ctrl-C keeps the finished stage; a second repro waits, then runs what is left, once."""
    project.write("source.txt", "b")
    project.write("pause.sh", "test $(wc -l < ran.log) != 5 || sleep 60")
    first = start(project)
    until(lambda: len(project.ran) == 5)
    second = start(project)
    assert f"process {lock.DVC_TMP.joinpath('iebaker/running').read_text()}" in second.stderr.readline()
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 130 and "interrupted; dvc.lock keeps 3 stages" in said and "Traceback" not in said
    assert second.wait(timeout=120) == 0
    assert project.ran[3:] == ["baseline", "ker", "ker", "full"] and "up to date" in project.dvc("status").stdout


def test_a_damaged_lock_is_put_back_and_nothing_runs(project):
    whole = lock.LOCK.read_bytes()
    lock.LOCK.write_bytes(whole[:200])
    done = project.iebaker("repro")
    assert done.stderr.startswith("iebaker repro: dvc.lock was cut off and has lost its last 2 stages: put back as git")
    assert lock.LOCK.read_bytes() == whole and len(project.ran) == 3


def test_arguments_and_failures_are_dvcs(project):
    project.write("source.txt", "b")
    assert "stage.py" not in project.iebaker("repro", "--dry").stdout and len(project.ran) == 3
    project.write("pause.sh", "exit 7")
    done = project.iebaker("repro", "--keep-going", check=False)
    assert done.returncode == 255 and "interrupted" not in done.stderr and len(project.ran) == 6


def test_a_full_disk_is_told_with_its_place(project, monkeypatch):
    """Once where project and cache share it; a cache on another disk need not be there yet."""
    project.write("source.txt", "b")
    project.write("pause.sh", "exit 7")
    full = {}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 0, full.get(Path(path).resolve(), 2**39)))

    def told() -> list[str]:
        lines: list[str] = []
        assert repro([], lines.append) == 255
        return [line.partition(";")[0] for line in lines if "free on" in line]

    assert told() == []
    full[project.folder] = 3 * 2**20
    here = f"3 MiB are free on the disk of {project.folder}"
    assert told() == [here]
    with TemporaryDirectory(dir="/dev/shm") as disk:
        cache = Path(disk, "cache")
        project.dvc("cache", "dir", "--local", str(cache))
        full |= dict.fromkeys((Path(disk), cache, cache / "files", cache / "files/md5"), 0)
        assert told() == [here, f"0 MiB are free on the disk of {cache}/files/md5"]


def test_what_dvc_says_of_its_configuration_stays(project):
    project.write(".dvc/config.local", "[cache]\n dirr = x\n")
    done = project.iebaker("repro", check=False)
    assert done.returncode == 251 and "extra keys not allowed" in done.stderr and "Traceback" not in done.stderr
    done = project.iebaker("doctor", "--verify", check=False)
    assert done.returncode and "mend .dvc/config" in done.stderr and "Traceback" not in done.stderr


STRAY = ("my_backup/weights.bin", "notes.md", "ker/notes.md")
ROOTS = ("data/models/synthetic", "data/similarity", "data/similarity/synthetic", "data/evaluation/synthetic",
         "reports/metrics/synthetic", "data/corpora/synthetic", "data/config/synthetic")  # fmt: skip


def test_only_what_a_stage_made_is_removed(project):
    """Files of people survive somewhere; unchanged results go, and DVC has them again in no time."""
    project.write("data/models/synthetic/ker/0/my-notes.md", "mine")
    project.write_params(project.params() | {"variants": ["full"]})
    for root in ROOTS:
        for name in STRAY:
            project.write(f"{root}/{name}", f"{root}/{name}")
    said = project.iebaker("repro").stderr
    files = {path.relative_to(project.folder): path.read_text() for path in project.folder.glob("[dr]*/**/*.*")}
    assert {f"{root}/{name}" for root in ROOTS for name in STRAY} | {"mine"} <= set(files.values())
    assert [path.name for path in project.folder.glob("data/models/synthetic/*")] == ["full"]
    assert (
        "removed data/models/synthetic/baseline: not declared" in said and said.count("removed") == 3
    )  # and two metrics
    assert not (project.folder / "data/set-aside/data/models/synthetic/baseline/0").exists()
    assert (project.folder / "data/set-aside/data/models/synthetic/ker/0/result").exists()
    assert (project.folder / "data/similarity/my_backup/weights.bin").exists()
    project.write_params(project.params() | {"variants": ["baseline", "ker", "full"]})
    project.iebaker("repro")
    assert len(project.ran) == 3


def test_what_the_cache_has_lost_is_moved_and_what_git_has_is_not(project):
    shutil.rmtree(".dvc/cache")
    project.write("reports/metrics/synthetic/baseline.json", "edited")
    project.write_params(project.params() | {"variants": ["full"]})
    said = project.iebaker("prune").stdout.splitlines()
    assert [line.split(" ")[:2] for line in sorted(said)] == [
        ["moved", "data/models/synthetic/baseline"],
        ["moved", "data/models/synthetic/ker"],
        ["moved", "reports/metrics/synthetic/baseline.json"],
        ["removed", "reports/metrics/synthetic/ker.json:"],
    ]
    assert (project.folder / "data/set-aside/reports/metrics/synthetic/baseline.json").read_text() == "edited"


def test_what_dvc_does_not_see_stays(project):
    ignored = [project.write(f"data/models/synthetic/{name}", "x") for name in (".DS_Store", ".full.partial")]
    project.write(".dvcignore", (ROOT / ".dvcignore").read_text())
    assert project.iebaker("prune").stdout == "" and all(path.exists() for path in ignored)


@pytest.mark.parametrize(
    ("key", "name"),
    [("variants", name) for name in ("full;touch X;", "full';touch X;'", "full\n", "$(touch X)", "..", "a b", "")]
    + [("corpora", "full';touch X;'"), ("benchmarks", "full\ntouch X\n")],
)
def test_no_name_reaches_a_shell(key, name, project):
    definitions = {"variants": "variant", "corpora": "corpus", "benchmarks": "benchmark"}[key]
    params = project.params()
    like = next(iter(params[definitions].values()))
    project.write_params(params | {key: [name], definitions: params[definitions] | {name: like}})
    with pytest.raises(IebakerError, match=key):
        repro([], print)
    assert not (project.folder / "X").exists() and len(project.ran) == 3


def test_undefined_names_and_seeds_that_are_none(project):
    params = project.params()
    wrong = [
        {"variant": params["variant"] | {"x y": {}}},
        *({"seeds": [seed]} for seed in ("0;touch X", "00", True, 0.5)),
    ]
    for changes in wrong:
        project.write_params(params | changes)
        with pytest.raises(IebakerError, match=next(iter(changes))):
            repro([], print)
    done = project.iebaker("repro", check=False)
    assert done.returncode == 2 and done.stderr.startswith("iebaker repro: params: seeds") and not done.stdout
    assert not (project.folder / "X").exists() and len(project.ran) == 3


def test_dvc_itself_quotes_what_it_puts_into_commands(tmp_path):
    """`dvc repro` of a stranger's params.yaml: the names arrive as they are, and nothing else runs."""
    project = TinyPipeline(tmp_path / "project")
    names = [
        "full;touch X;",
        "full';touch X;'",
        "full\ntouch X\n",
        "a'\ntouch X\n'",
        "$(touch X)",
        "`touch X`",
        "-x",
        "a b",
    ]
    project.write("show.py", "import sys; print(sys.argv[1:], file=open('shown', 'a'))")
    project.write_params({"variants": names})
    stage = {"matrix": {"variant": "${variants}"}, "cmd": "python show.py ${item}"}
    project.write("dvc.yaml", yaml.safe_dump({"stages": {"one": stage}}))
    project.dvc("repro", "--keep-going", "-q", check=False)
    assert not (project.folder / "X").exists()
    shown = (project.folder / "shown").read_text().splitlines()
    assert shown == [str(["--variant", name]) for name in names if "\n" not in name]
