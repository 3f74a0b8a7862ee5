import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import resolved
from PIL import Image

import iebaker
from iebaker.corpus.loading import split_of
from iebaker.errors import IebakerError
from iebaker.method.similarity import global_similarity
from iebaker.model import factory
from iebaker.model.encoding import encode_captions, encode_images
from iebaker.search.embedding import Embedder

CAPTIONS = ["a port .", "many planes are parked next to a long building in an airport .", "a port ."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    factory.save(factory.create(resolved()[0].model), folder, {})
    return folder


def test_features_are_those_of_the_pipeline(folder, corpus, tmp_path):
    threads = torch.get_num_threads()
    model = iebaker.load(folder)
    pixels = [np.array(image.pixels) for image in corpus[0].images(split_of(corpus[0], "val").image_ids[:3])]
    files = [tmp_path / f"{number}.png" for number in range(3)]
    for file, image in zip(files, pixels, strict=True):
        Image.fromarray(image).save(file)
    images, texts = model.encode_images(files), model.encode_texts(CAPTIONS)
    towers = factory.load(folder)
    expected = (
        encode_captions(towers.text, CAPTIONS).features.pooled,
        encode_images(towers.image, pixels).features.pooled,
    )
    reference = global_similarity(*expected).numpy()[encode_captions(towers.text, CAPTIONS).row]
    assert model.similarity(texts, images) == pytest.approx(reference, abs=1e-6)
    assert np.array_equal(
        model.similarity(CAPTIONS, [Image.open(file) for file in files]), model.similarity(texts, images)
    )
    assert np.linalg.norm(images, axis=1) == pytest.approx(1) and np.array_equal(texts[0], texts[2])
    assert images.dtype == texts.dtype == np.float32 and torch.get_num_threads() == threads


@pytest.mark.parametrize("orientations", [1, 2, 4, 8])
def test_an_image_is_the_mean_of_its_orientations_however_it_is_given(folder, corpus, tmp_path, orientations):
    """Of files as of stored images; turning it no longer matters with all eight."""
    settings = resolved(model={"orientations": orientations})[0].model
    torch.manual_seed(0)
    factory.save(factory.create(settings), tmp_path / "model", {"model": settings.model_dump()})
    model, plain = iebaker.load(tmp_path / "model"), iebaker.load(folder)
    image = corpus[0].images(split_of(corpus[0], "val").image_ids[:1])[0]
    Image.fromarray(np.array(image.pixels)).save(tmp_path / "a.png")
    turned = [Image.fromarray(np.ascontiguousarray(image.oriented(number).pixels)) for number in range(8)]
    expected = plain.encode_images(turned[:orientations]).mean(0)
    expected /= np.linalg.norm(expected)
    for given in (tmp_path / "a.png", image):
        assert model.encode_images([given])[0] == pytest.approx(expected, abs=1e-6)
    spread = np.ptp(model.encode_images(turned), axis=0).max()
    assert spread < 1e-6 if orientations == 8 else spread > 1e-4
    found = Embedder(tmp_path / "model").images([turned[0]])[0][0]
    assert found == pytest.approx(expected, abs=1e-3)


def test_no_items_give_no_rows(folder):
    model = iebaker.load(folder)
    assert model.encode_images([]).shape == model.encode_texts([]).shape == (0, model.model.embed_dim)


def test_what_is_no_model_or_no_list_is_said(folder, tmp_path):
    with pytest.raises(IebakerError, match="no such folder"):
        iebaker.load(tmp_path / "absent")
    with pytest.raises(IebakerError, match="model.safetensors is missing"):
        iebaker.load(tmp_path)
    with pytest.raises(IebakerError, match="give a list"):
        iebaker.load(folder).encode_texts("a port")
    with pytest.raises(IebakerError, match="absent.png: no such file"):
        iebaker.load(folder).encode_images([tmp_path / "absent.png"])


def test_importing_the_package_imports_nothing_heavy():
    code = "import sys, iebaker; iebaker.__version__; print(len({'torch', 'numpy', 'open_clip'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "0\n"
