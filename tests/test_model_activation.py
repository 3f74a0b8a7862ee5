import re

import pytest
import torch
from safetensors.torch import save_file

from iebaker.errors import IebakerError
from iebaker.model import activation, factory
from iebaker.model.activation import check_file, documented_files, origin_of


@pytest.fixture
def checkpoint(tmp_path, monkeypatch):
    """A file of some name that has some SHA-256."""

    def write(name="weights.pt", digest="0" * 64):
        file = tmp_path / name
        torch.save({}, file)
        monkeypatch.setattr(activation, "sha256", lambda path: digest)
        return file

    return write


def openai_digest():
    return next(digest for digest, origin in documented_files().items() if origin.name == "openai of ViT-B-32")


def test_documented_files_are_open_clips_own():
    table = documented_files()
    assert all(re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", digest) for digest in table)
    openai = [origin for origin in table.values() if origin.name.startswith("openai of")]
    assert len(openai) == 9 and all(origin.quick_gelu for origin in openai)
    assert {origin.quick_gelu for origin in table.values()} == {True, False}


def test_documented_weights_are_refused_into_the_other_activation(checkpoint):
    file = checkpoint(digest=openai_digest())
    with pytest.raises(IebakerError, match="trained with QuickGELU; ViT-B-32 builds GELU.*use ViT-B-32-quickgelu"):
        check_file(file, "ViT-B-32", False)
    check_file(file, "ViT-B-32-quickgelu", True)
    laion = next(digest for digest, origin in documented_files().items() if origin.name == "laion2b_e16 of ViT-B-32")
    file = checkpoint(digest=laion + "0" * 56)
    with pytest.raises(IebakerError, match="trained with GELU; ViT-B-32-quickgelu builds QuickGELU.*use ViT-B-32$"):
        check_file(file, "ViT-B-32-quickgelu", True)
    check_file(file, "ViT-B-32", False)


@pytest.mark.parametrize("name", ["RemoteCLIP-ViT-L-14.pt", "RS5M_ViT-B-32_RET-2.pt", "renamed.pt"])
def test_fine_tunes_of_openai_are_cautioned_of_and_no_more(checkpoint, name):
    known = next(iter(activation.FINE_TUNED_FROM_OPENAI)) if name == "renamed.pt" else "1" * 64
    file = checkpoint(name, known)
    assert "evaluate ViT-L-14-quickgelu too" in check_file(file, "ViT-L-14", False)
    assert check_file(file, "ViT-L-14-quickgelu", True) == ""


def test_of_any_other_file_nothing_is_claimed(checkpoint):
    for name in ("weights.pt", "RS5M_ViT-H-14.pt"):
        file = checkpoint(name)
        assert origin_of(file) is None
        assert check_file(file, "ViT-B-32", False) == ""


def test_digest_is_that_of_the_content(tmp_path):
    (tmp_path / "empty").write_bytes(b"")
    assert activation.sha256(tmp_path / "empty").startswith("e3b0c44298fc1c14")


def test_a_model_carries_the_caution(tmp_path):
    model = factory.open_model("overhead-tiny")
    file = tmp_path / "remoteclip.safetensors"
    save_file({name: value.contiguous() for name, value in model.clip.state_dict().items()}, file)
    loaded = factory.open_model("overhead-tiny", str(file))
    assert "evaluate overhead-tiny-quickgelu too" in loaded.caution
    assert model.caution == ""
