import numpy as np
import pytest
import torch
from conftest import section

from iebaker.config.params import ModelParams
from iebaker.model import factory
from iebaker.model.adapters import Trunk
from iebaker.model.features import FeatureStore

CAPTIONS = ["a port .", "many planes are parked next to a long building in an airport ."]


@pytest.fixture
def model():
    return factory.create(section(ModelParams)).eval()


def test_cutting_padding_changes_no_feature(model):
    ids = model.tokenizer(CAPTIONS)
    with torch.no_grad():
        whole, cut = model.text(ids), model.text(model.text.inputs(ids))
    assert cut.tokens.shape[1] < whole.tokens.shape[1]
    torch.testing.assert_close(cut.pooled, whole.pooled, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(cut.tokens, whole.tokens[:, : cut.tokens.shape[1]], rtol=1e-5, atol=1e-6)


def test_padding_that_counts_is_not_cut(model):
    model.read(trim=False)
    assert model.text.inputs(CAPTIONS).shape == (2, model.tokenizer.context_length)


def test_tokens_that_nobody_reads_are_not_projected(model):
    model.read(tokens=False)
    with torch.no_grad():
        plain = model.text(model.text.inputs(CAPTIONS))
        model.read(tokens=True)
        whole = model.text(model.text.inputs(CAPTIONS))
    assert plain.tokens.shape[1] == plain.padding.shape[1] == 0 < whole.tokens.shape[1]
    assert torch.equal(plain.pooled, whole.pooled)


def test_images_are_the_same_as_arrays_and_files(model, rng, tmp_path):
    from PIL import Image

    size = model.preprocess.size
    pixels = rng.integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    files = [tmp_path / f"{row}.png" for row in range(2)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    expected = model.image.inputs(pixels)
    for items in (files, list(map(str, files)), list(map(Image.open, files))):
        assert torch.equal(model.image.inputs(items), expected)


def test_only_what_was_kept_is_read_from_the_store(model, tmp_path):
    """In half precision, and again from disk; a caption that was not kept runs the trunk."""
    model.lock(image=False, text=True)
    text, ids = model.text, model.tokenizer(CAPTIONS)
    live = text.trunk(text.reader.inputs(ids, text.device))

    def keep(read):
        text.keep(text.reader.keys(ids), read, [ids.numpy().tobytes()], FeatureStore(tmp_path), "text")

    keep(lambda rows: text.reader.inputs(ids, text.device)[rows])
    kept = text.inputs(CAPTIONS[::-1])
    assert isinstance(kept, Trunk) and kept.pooled.dtype == torch.float16
    assert torch.equal(kept.padding, live.padding.flip(0))
    torch.testing.assert_close(kept.pooled.float(), live.pooled.flip(0), rtol=1e-3, atol=1e-3)
    keep(lambda rows: pytest.fail("the trunk ran again"))
    assert all(map(torch.equal, text.inputs(CAPTIONS[::-1]), kept))
    assert isinstance(text.inputs([*CAPTIONS, "a river"]), torch.Tensor)
