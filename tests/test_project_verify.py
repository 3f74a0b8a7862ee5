"""`iebaker doctor --verify`: what DVC would believe is read byte by byte."""

import pytest
from tiny_pipeline import TinyPipeline

from iebaker.errors import IebakerError
from iebaker.project import lock, verify


@pytest.fixture
def project(tmp_path, monkeypatch) -> TinyPipeline:
    pipeline = TinyPipeline(tmp_path / "project", ["full"])
    pipeline.dvc("repro", "-q")
    monkeypatch.chdir(pipeline.folder)
    return pipeline


def test_garbled_objects_and_outs_are_named_with_their_remedy(project):
    assert list(verify.check()) == []
    model = project.folder / "data/models/synthetic/full/0/result"
    cache = verify.cache_folder()
    [folder_object] = cache.rglob("*.dir")
    [file_object] = [file for file in cache.glob("??/*") if not file.name.endswith(".dir")]
    whole = {file: file.read_bytes() for file in (folder_object, file_object)}

    model.unlink()
    file_object.chmod(0o644)
    file_object.write_bytes(b"garbled")
    project.dvc("checkout", "-q", "--force", check=False)
    assert model.read_bytes() == b"garbled"  # why this check is needed
    found = [finding.text for finding in verify.check()]
    assert f"{file_object} is garbled, of data/models/synthetic/full/0" in found[0]
    assert f"rm -f {file_object}" in found[0]
    assert "data/models/synthetic/full/0 is not what dvc.lock says (result)" in found[1] and len(found) == 2
    assert project.iebaker("doctor", "--verify", check=False).returncode == 1

    file_object.unlink()  # as told
    model.unlink()
    project.dvc("repro", "-q")
    assert list(verify.check()) == [] and model.read_bytes() == whole[file_object]

    folder_object.chmod(0o644)
    folder_object.write_bytes(b"[]")
    assert [finding.text.startswith(f"{folder_object} is garbled") for finding in verify.check()] == [True]


def test_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IebakerError, match="no project of DVC"):
        list(verify.check())
    lock.LOCK.write_text("<<<<<<< HEAD\n")
    assert list(verify.check()) == []
