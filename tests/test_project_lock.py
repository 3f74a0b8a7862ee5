"""dvc.lock after kills: found damaged, put back, and the pipeline goes on without running anything twice."""

import json
import subprocess
import sys

import pytest
from conftest import run
from tiny_pipeline import TinyPipeline

from iebaker.errors import IebakerError
from iebaker.project import lock

# One process that has imported DVC: each trial is a fork of it, killed by itself while DVC writes dvc.lock.
ATTACK = """
import io, json, os, shutil, signal, sys
from pathlib import Path
from dvc.cli import main
from dvc.utils.serialize import _yaml
from iebaker.project import lock

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
before, number, kind = Path(sys.argv[1]), int(sys.argv[2]), signal.Signals[sys.argv[3]]
stages, whole = 3, _yaml._dump

class Dying:
    def __init__(self, stream, left):
        self.stream, self.left = stream, left
    def write(self, data):
        text = data.decode() if isinstance(data, bytes) else data
        self.stream.write(text[:self.left])
        self.left -= len(text)
        if self.left <= 0:
            self.stream.flush()
            os.kill(os.getpid(), kind)
    def flush(self):
        self.stream.flush()

def repro(write=None, share=None):
    pid = os.fork()
    if not pid:
        written = []
        def dump(data, stream):
            if Path(getattr(stream, "name", "")).name == "dvc.lock":  # the run cache has files of its own
                text = io.StringIO()
                whole(data, text)
                written.append(len(text.getvalue()))
                if len(written) == write:
                    stream = Dying(stream, int(written[-1] * share))
            return whole(data, stream)
        _yaml._dump = dump
        os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
        os.dup2(1, 2)
        os._exit(main(["repro"]))
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

shutil.copytree(before, before.with_name("warm"))
os.chdir(before.with_name("warm"))
main(["repro", "-q"])  # imports what the forks need
found = []
for trial in range(number):
    folder = before.with_name(f"trial{trial}")
    shutil.copytree(before, folder)
    os.chdir(folder)
    lock.keep()
    Path("source.txt").write_text("b")
    status = repro(trial % stages + 1, trial / (number - 1))
    restored = lock.restore()
    found.append({"killed": status, "restored": restored, "again": repro(), "lock": Path("dvc.lock").read_text(),
                  "ran": Path("ran.log").read_text().split()})
    os.chdir("/")
    shutil.rmtree(folder)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory) -> TinyPipeline:
    """Reproduced once with three variants, and committed."""
    pipeline = TinyPipeline(tmp_path_factory.mktemp("lock") / "project", ["baseline", "ker", "full"])
    pipeline.dvc("repro", "-q")
    pipeline.commit()
    return pipeline


@pytest.fixture
def project(pipeline, tmp_path, monkeypatch) -> TinyPipeline:
    """A copy of it to damage, as the current folder."""
    copy = pipeline.copy(tmp_path / "project")
    monkeypatch.chdir(copy.folder)
    return copy


@pytest.mark.parametrize(("kind", "status"), [("SIGKILL", -9), ("SIGINT", 252)])
def test_ten_deaths_while_dvc_writes_its_lock(kind, status, pipeline, tmp_path):
    """Byte for byte what a run without a death leaves, and no stage runs twice."""
    expected = pipeline.copy(tmp_path / "undisturbed")
    expected.write("source.txt", "b")
    expected.dvc("repro", "-q")
    before = pipeline.copy(tmp_path / "before")
    done = run(sys.executable, "-c", ATTACK, str(before.folder), "10", kind, cwd=tmp_path, env=pipeline.environment)
    trials = json.loads(done.stdout.splitlines()[-1])
    assert [trial["killed"] for trial in trials] == [status] * 10
    assert [trial["again"] for trial in trials] == [0] * 10
    assert {trial["lock"] for trial in trials} == {(expected.folder / "dvc.lock").read_text()}
    assert all(sorted(trial["ran"]) == sorted(expected.ran) for trial in trials)
    assert sum(bool(trial["restored"]) for trial in trials) >= 6


def test_a_lock_cut_off_anywhere_is_put_back(project):
    lock.keep()
    whole = lock.LOCK.read_bytes()
    for length in range(0, len(whole), 31):
        lock.LOCK.write_bytes(whole[:length])
        [said] = lock.restore()
        assert "dvc.lock" in said and "last good stage" in said
        assert lock.LOCK.read_bytes() == whole and lock.DAMAGED.read_bytes() == whole[:length]
    assert lock.restore() == []


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"<<<<<<< HEAD\nschema: '2.0'\n=======\nschema: '2.0'\n>>>>>>> other\n", "conflict markers"),
        (b"schema: '2.0'\nstages: {train: {cmd: 1}}\n", "not what DVC writes"),
        (b"\xff\xfe", "garbled"),
    ],
)
def test_without_a_copy_git_has_it(content, says, project):
    whole = lock.LOCK.read_bytes()
    lock.LOCK.write_bytes(content)
    with pytest.raises(IebakerError, match=f"{says}.*restore-lock"):
        lock.read_lock()
    [finding] = lock.check()
    assert finding.blocking and says in finding.text and "iebaker restore-lock" in finding.text
    assert "as git has it" in project.iebaker("restore-lock").stdout
    assert lock.LOCK.read_bytes() == whole and list(lock.check()) == []
    assert project.iebaker("restore-lock").stdout == "dvc.lock is whole\n"


def test_without_any_good_one_the_run_cache_knows(project):
    project.git("update-ref", "-d", "HEAD")
    lock.LOCK.write_bytes(b"stages")
    [said] = lock.restore()
    assert "moved away" in said and not lock.LOCK.exists()
    project.dvc("repro", "-q")
    assert len(project.ran) == 3


def test_a_shorter_lock_of_git_or_of_other_stages_is_no_damage(project):
    lock.keep()
    params = project.params()
    project.write_params(params | {"variants": ["baseline", "ker"]})
    lock.LOCK.unlink()
    project.dvc("repro", "-q")
    assert "lost its last 1 stages" in lock.damage()
    project.commit()
    assert lock.damage() is None
    lock.keep()
    lock.LOCK.write_text(lock.LOCK.read_text().replace("0-baseline:", "0-other:"))
    assert lock.damage() is None


def test_a_copy_older_than_the_commit_is_not_put_back(project):
    lock.keep()
    project.write("source.txt", "b")
    project.dvc("repro", "-q")
    project.commit()
    newer = lock.LOCK.read_bytes()
    subprocess.run(["touch", "-d", "2001-01-01", lock.GOOD], check=True)
    lock.LOCK.write_bytes(b"")
    assert "as git has it" in lock.restore()[0] and lock.LOCK.read_bytes() == newer


def test_a_cut_off_list_of_processes_is_removed(project):
    for content in ('{"write": {', "", "[]", '{"a": 3}', "\0"):
        listed = project.write(".dvc/tmp/rwlock", content)
        assert "rwlock" in lock.restore()[0] and not listed.exists(), content
    listed.write_text('{"read": {"/a": [{"pid": 1, "cmd": "x"}]}, "write": {}}')
    assert lock.restore() == []
    project.dvc("repro", "-q")
