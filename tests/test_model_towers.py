import json
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from iebaker.errors import IebakerError
from iebaker.model.adapters import Trunk
from iebaker.model.compat import open_clip
from iebaker.model.preprocess import Preprocess
from iebaker.model.tokens import Tokenizer
from iebaker.model.towers import RetrievalModel, adamw_groups

CAPTIONS = ["An airport with two white planes.", "boats", "a " * 40]
WIDTH = 16

VIT = {"image_size": 32, "patch_size": 8, "width": 32, "layers": 2, "head_width": 16}
TIMM = {"image_size": 64, "timm_pool": "avg", "timm_proj": "linear"}
IMAGES = {
    "vit": (VIT, 16),
    "vit-mean": (VIT | {"pool_type": "avg"}, 16),
    "vit-late-norm": (VIT | {"pool_type": "avg", "final_ln_after_pool": True, "no_ln_pre": True}, 16),
    "vit-coca": (VIT | {"attentional_pool": True, "attn_pooler_queries": 5, "attn_pooler_heads": 2}, 4),
    "resnet": ({"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}, 4),
    "timm-efficientnet": (TIMM | {"timm_model_name": "test_efficientnet"}, 4),
    "timm-convnext": (TIMM | {"timm_model_name": "test_convnext"}, 4),
    "timm-resnet-mlp": (TIMM | {"timm_model_name": "test_resnet", "timm_proj": "mlp"}, 4),
    "timm-classifier": (TIMM | {"timm_model_name": "test_resnet", "timm_proj": ""}, 4),
    "timm-vit": (TIMM | {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "token"}, 100),
    "timm-vit-map": (
        TIMM | {"image_size": 160, "timm_model_name": "test_vit", "timm_pool": "map", "timm_proj": ""},
        100,
    ),
}
CLIP_TEXT = {"context_length": 20, "width": 32, "heads": 2, "layers": 2}
TEXTS = {
    "clip": CLIP_TEXT,
    "last": CLIP_TEXT | {"pool_type": "last", "no_causal_mask": True, "proj_bias": True},
    "first": CLIP_TEXT | {"pool_type": "first"},
    "end": CLIP_TEXT | {"pool_type": "eos", "eos_id": 49407},
    "unprojected": CLIP_TEXT | {"proj_type": "none", "width": WIDTH},
    "coca": CLIP_TEXT | {"embed_cls": True},
}


@cache
def clip_tokenizer():
    return Tokenizer(open_clip.SimpleTokenizer(context_length=20))


def build(vision=VIT, text=CLIP_TEXT, tokenizer=None):
    torch.manual_seed(0)
    clip = open_clip.CustomTextCLIP(WIDTH, dict(vision), dict(text))
    size = vision["image_size"]
    preprocess = Preprocess(size, (0.5,) * 3, (0.5,) * 3)
    return RetrievalModel(clip, tokenizer or clip_tokenizer(), preprocess, "tiny", {"embed_dim": WIDTH}).eval()


def images(model, count=3):
    return torch.randn(count, 3, model.preprocess.size, model.preprocess.size)


@pytest.fixture(scope="module")
def hugging_face(tmp_path_factory):
    """A tiny BERT with tokenizer, in Hugging Face's layout."""
    transformers, tokenizers = pytest.importorskip("transformers"), pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("bert")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "air", "##port", "boats", "two", ".", "with"]
    inner = tokenizers.Tokenizer(tokenizers.models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
    inner.normalizer = tokenizers.normalizers.BertNormalizer()
    inner.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    inner.post_processor = tokenizers.processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    tokens = {f"{name}_token": token for name, token in names.items()}
    transformers.PreTrainedTokenizerFast(tokenizer_object=inner, **tokens).save_pretrained(folder)
    shape = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 48}
    config = {"model_type": "bert", "vocab_size": len(words), "pad_token_id": 0, **shape}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def assert_head_of_trunk(model, pixels, token_ids):
    for encoded, split in (
        (model.image(pixels), model.image.head(model.image.trunk(pixels))),
        (model.text(token_ids), model.text.head(model.text.trunk(token_ids))),
    ):
        assert all(torch.equal(one, other) for one, other in zip(encoded, split, strict=True))


@pytest.mark.parametrize("family", IMAGES)
def test_image_families(family):
    vision, positions = IMAGES[family]
    model = build(vision)
    pixels = images(model)
    with torch.no_grad():
        output = model.image(pixels)
        assert torch.equal(output.pooled, model.clip.encode_image(pixels))
        assert_head_of_trunk(model, pixels, model.tokenizer(["boats"]))
    assert output.tokens.shape == (3, positions, WIDTH)
    assert output.padding.shape == (3, positions) and not output.padding.any()
    # tokens tell images and positions apart
    assert output.tokens.std(dim=0).min() > 0 and output.tokens.std(dim=1).min() > 0


@pytest.mark.parametrize("family", TEXTS)
def test_text_families(family):
    model = build(text=TEXTS[family])
    token_ids = model.tokenizer(CAPTIONS)
    with torch.no_grad():
        output = model.text(token_ids)
        reference = model.clip.encode_text(token_ids)
    assert torch.allclose(output.pooled, reference, rtol=0, atol=1e-6)
    assert output.tokens.shape == (3, 20, WIDTH)
    assert output.padding.sum(dim=1).tolist() == [20 - 9, 20 - 3, 0]


def test_clip_text_pools_the_token_at_the_end():
    model = build()
    token_ids = model.tokenizer(CAPTIONS)
    output = model.text(token_ids)
    ends = (~output.padding).sum(dim=1) - 1
    assert torch.allclose(output.tokens[torch.arange(3), ends], output.pooled, atol=1e-6)


def test_plain_clip_and_custom_text_clip_agree():
    torch.manual_seed(0)
    plain = open_clip.CLIP(WIDTH, dict(VIT), dict(CLIP_TEXT)).eval()
    model = build()
    assert not model.clip.load_state_dict(open_clip.model.convert_to_custom_text_state_dict(plain.state_dict()))[0]
    token_ids = model.tokenizer(CAPTIONS)
    assert torch.equal(model.text(token_ids).pooled, plain.encode_text(token_ids))


@pytest.mark.parametrize("pooler", ["mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler"])
def test_hugging_face_text(hugging_face, pooler):
    text = {"hf_model_name": str(hugging_face), "hf_model_pretrained": False, "hf_pooler_type": pooler}
    tokenizer = Tokenizer(open_clip.tokenizer.HFTokenizer(str(hugging_face), context_length=9))
    model = build(text=text | {"context_length": 9}, tokenizer=tokenizer)
    token_ids = model.tokenizer(["Boats.", "a airport with two boats", "a " * 30])
    with torch.no_grad():
        output = model.text(token_ids)
        assert torch.equal(output.pooled, model.clip.encode_text(token_ids))
        assert_head_of_trunk(model, images(model), token_ids)
        alone = model.text(token_ids[:1])
    assert output.tokens.shape == (3, 9, WIDTH)
    assert output.padding.sum(dim=1).tolist() == [5, 1, 0]
    assert torch.allclose(alone.tokens, output.tokens[:1], atol=1e-6)


def test_timm_tokens_average_to_the_pooled_vector():
    model = build(IMAGES["timm-efficientnet"][0])
    output = model.image(images(model))
    assert torch.allclose(output.tokens.mean(dim=1), output.pooled, atol=1e-5)


def test_resnet_token_is_what_a_map_of_that_position_alone_would_give():
    model = build(IMAGES["resnet"][0])
    pool = model.clip.visual.attnpool
    torch.nn.init.zeros_(pool.q_proj.weight)
    torch.nn.init.zeros_(pool.q_proj.bias)
    trunk = model.image.trunk(images(model))
    pooled, tokens, _ = model.image.head(trunk)
    # without a query all positions, and their mean, weigh the same
    mean = pool.c_proj(pool.v_proj(trunk.tokens.mean(dim=1) + pool.positional_embedding[0]))
    assert torch.allclose(pooled, (tokens.sum(dim=1) + mean) / 5, atol=1e-5)


@pytest.mark.parametrize(
    ("vision", "text", "words"),
    [
        (VIT | {"pool_type": "none"}, CLIP_TEXT, "vision_cfg.pool_type 'none'"),
        (VIT, CLIP_TEXT | {"pool_type": "none"}, "text_cfg.pool_type 'none'"),
    ],
)
def test_towers_without_pooled_vector_are_refused(vision, text, words):
    with pytest.raises(IebakerError, match=words):
        build(vision, text)


def test_unknown_family_is_refused_by_name():
    clip = open_clip.CustomTextCLIP(WIDTH, dict(VIT), dict(CLIP_TEXT))
    clip.visual = torch.nn.Identity()
    with pytest.raises(IebakerError, match="no adapter for open_clip's Identity"):
        RetrievalModel(clip, clip_tokenizer(), Preprocess(32, (0,) * 3, (1,) * 3), "odd", {"embed_dim": WIDTH})


@pytest.mark.parametrize("vision", ["vit", "resnet", "timm-efficientnet", "timm-classifier"])
def test_locked_trunks_rest_and_heads_train(vision):
    model = build(IMAGES[vision][0])
    model.lock(image=True, text=True)
    assert model.image.frozen and model.text.frozen
    heads = [parameter for parameter in model.parameters() if parameter.requires_grad]
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameter_groups(0.1, 0.0, 0.1))
    model.train()
    sides = model.image(images(model)), model.text(model.tokenizer(CAPTIONS))
    loss = sum(F.normalize(side.pooled, dim=-1).square().sum() + side.tokens.mean() for side in sides)
    loss.backward()
    optimiser.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    named = {name for name, parameter in model.named_parameters() if any(parameter is head for head in heads)}
    assert changed and changed <= named
    assert not any(value.requires_grad for value in model.image.trunk(images(model))[:2])


def test_kept_features_give_the_same_as_encoding():
    model = build(IMAGES["timm-efficientnet"][0])
    model.lock(image=True, text=True)
    model.train()
    pixels, token_ids = images(model), model.tokenizer(CAPTIONS)
    kept = Trunk(*(value.clone() for value in model.image.trunk(pixels)))
    assert torch.equal(model.image.head(kept).tokens, model.image(pixels).tokens)
    assert_head_of_trunk(model, pixels, token_ids)


def test_parameter_groups_cover_what_trains_once():
    model = build()
    groups = model.parameter_groups(lr=1e-3, head_lr=1e-2, weight_decay=0.7)
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    training = [id(parameter) for parameter in model.parameters() if parameter.requires_grad]
    assert sorted(grouped) == sorted(training) and id(model.clip.logit_scale) not in grouped
    for group in groups:
        assert {parameter.ndim >= 2 for parameter in group["params"]} == {group["weight_decay"] == 0.7}
    fast = [parameter for group in groups if group["lr"] == 1e-2 for parameter in group["params"]]
    assert {id(parameter) for parameter in fast} == {id(model.clip.visual.proj), id(model.clip.text.text_projection)}
    assert {group["lr"] for group in model.parameter_groups(1e-3, 0.0, 0.7)} == {1e-3}
    assert adamw_groups([], 1.0, 0.1) == []


def test_every_trained_parameter_gets_a_gradient():
    model = build(IMAGES["resnet"][0]).train()
    image, text = model.image(images(model)), model.text(model.tokenizer(CAPTIONS))
    (image.pooled.square().sum() + image.tokens.square().sum() + text.tokens.square().sum()).backward()
    assert all(parameter.grad is not None for parameter in model.parameters() if parameter.requires_grad)


def test_bfloat16_autocast_keeps_shapes():
    model = build(IMAGES["resnet"][0])
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        image, text = model.image(images(model)), model.text(model.tokenizer(CAPTIONS))
    assert image.tokens.shape == (3, 4, WIDTH) and text.tokens.isfinite().all()


def test_preprocess_normalises_and_resizes():
    preprocess = Preprocess(8, (0.5,) * 3, (0.25,) * 3)
    pixels = torch.full((2, 8, 8, 3), 255, dtype=torch.uint8)
    assert torch.equal(preprocess(pixels), torch.full((2, 3, 8, 8), 2.0))
    grey = torch.full((1, 20, 20, 3), 51, dtype=torch.uint8)
    assert torch.allclose(preprocess(grey), torch.full((1, 3, 8, 8), (0.2 - 0.5) / 0.25), atol=1e-6)
