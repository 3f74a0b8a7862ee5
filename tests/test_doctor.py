import io
from collections import namedtuple

import pytest

from iebaker import doctor

Usage = namedtuple("Usage", "total used free")


def texts(check, *arguments):
    return [finding.text for finding in check(*arguments)]


@pytest.fixture
def sound(monkeypatch):
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter(()),))


def run():
    stream = io.StringIO()
    return doctor.report(stream), stream.getvalue()


def test_sound_environment(sound):
    code, text = run()
    assert code == 0
    assert text.endswith("all is well\n")
    assert "torch 2." in text and "device cpu" in text


def test_warnings_do_not_fail_errors_do_and_come_first(monkeypatch):
    warning, error = doctor.Finding(False, "mild"), doctor.Finding(True, "severe")
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([warning]),))
    assert run()[0] == 0
    monkeypatch.setattr(doctor, "CHECKS", (lambda: iter([warning, error]),))
    code, text = run()
    assert code == 1
    assert text.index("ERROR: severe") < text.index("warning: mild")


def test_this_environment_has_all_requirements():
    assert texts(doctor.check_python) == texts(doctor.check_requirements) == []
    assert not any(finding.blocking for finding in doctor.check_imports())


def test_old_python(monkeypatch):
    monkeypatch.setattr(doctor.sys, "version_info", (3, 10, 4))
    [finding] = doctor.check_python()
    assert finding.blocking and "3.11" in finding.text


def test_missing_and_unfitting_requirements(monkeypatch):
    needed = ["alpha>=2,<3", "beta>=1", "gamma; extra == 'test'"]
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: needed)
    monkeypatch.setattr(doctor, "installed", {"beta": "0.9"}.get)
    missing, unfitting = doctor.check_requirements()
    assert missing.blocking and "alpha is not installed: pip install 'alpha<3,>=2'" in missing.text
    assert unfitting.blocking and "beta 0.9" in unfitting.text


def test_missing_extra_is_a_warning_with_its_command(monkeypatch):
    monkeypatch.setattr(doctor, "installed", lambda name: None)
    [finding] = doctor.check_towers()
    assert not finding.blocking and "pip install 'iebaker[towers]'" in finding.text


def test_mismatched_torchvision(monkeypatch):
    from iebaker.model import compat

    monkeypatch.setattr(compat, "operators_declared", lambda: True)
    [finding] = doctor.check_imports()
    assert not finding.blocking and "built for another torch" in finding.text

    def broken(name):
        raise RuntimeError("undefined symbol")

    monkeypatch.setattr(doctor.importlib, "import_module", broken)
    [finding] = doctor.check_imports()
    assert finding.blocking and "undefined symbol" in finding.text


def test_commands_missing_or_of_another_environment(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "which", {"python": "/elsewhere/python"}.get)
    dvc, python = doctor.check_commands()
    assert dvc.blocking and "dvc is not on PATH" in dvc.text
    assert not python.blocking and "/elsewhere/python" in python.text


def test_git_identity(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "config"))
    assert [text.split(",")[0] for text in texts(doctor.check_git)] == ["git has no user.name", "git has no user.email"]
    (tmp_path / "config").write_text("[user]\nname = A\nemail = a@b\n")
    assert texts(doctor.check_git) == []
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    [finding] = doctor.check_git()
    assert finding.blocking


def test_pins_of_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert texts(doctor.check_pins) == []
    monkeypatch.setattr(doctor, "installed", {"torch": "2.13.0+cpu", "timm": "1.0.1"}.get)
    (tmp_path / "constraints.txt").write_text("# pins\ntorch==2.13.0\ntimm==1.0.31  # tested\nabsent==1.0\n")
    [text] = texts(doctor.check_pins)
    assert "timm 1.0.1 (tested: 1.0.31)" in text and "torch" not in text and "absent" not in text


def test_little_space(monkeypatch):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(1, 1, 1024**3))
    monkeypatch.setattr(doctor, "available_memory", lambda: 3 * 1024**2)
    disk, memory = doctor.check_space()
    assert disk.blocking and "1.0 GiB free" in disk.text
    assert not memory.blocking and "memory" in memory.text
    monkeypatch.setattr(doctor, "available_memory", lambda: None)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: Usage(1, 1, 1024**4))
    assert texts(doctor.check_space) == []
