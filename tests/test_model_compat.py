import importlib

import pytest

from iebaker.model import compat


def test_open_clip_comes_with_a_working_torchvision():
    import torchvision.transforms.functional

    assert torchvision.transforms.functional.resize and compat.open_clip.list_models()


def test_a_torchvision_that_imports_is_left_alone(monkeypatch):
    declared = list(compat._libraries)
    assert compat.import_torchvision() is importlib.import_module("torchvision")
    assert compat._libraries == declared


def test_other_failures_are_not_hidden(monkeypatch):
    def broken(name):
        raise RuntimeError("another reason")

    monkeypatch.setattr(compat.importlib, "import_module", broken)
    with pytest.raises(RuntimeError, match="another reason"):
        compat.import_torchvision()
    assert compat.operators_declared() == bool(compat._libraries)
