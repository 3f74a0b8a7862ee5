import pytest
import yaml
from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from iebaker.config.declarations import merge, resolve
from iebaker.config.params import (
    DataParams,
    KeywordsParams,
    SarParams,
    SyntheticParams,
    TrainingConfig,
    canonical,
    parse,
)
from iebaker.errors import IebakerError

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.mark.parametrize("text", ["1e-5", "3e-05", "1.0e-5", "0.00001"])
def test_numbers_as_yaml_and_the_command_line_write_them(text):
    """PyYAML reads `1e-5` as a string."""
    config = resolve(PARAMS | {"train": yaml.safe_load(f"lr: {text}")}, "synthetic", "full")
    assert config.train.lr == pytest.approx(float(text), rel=1e-12)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("eba", {"drop_ration": 0.2}, r"eba.drop_ration: .*0.2"),
        ("eba", {"scheme": "off"}, r"eba.scheme: .*'none', 'coupled' or 'decoupled'.*'off'"),
        ("eba", {"scheme": False}, "eba.scheme"),
        ("eba", {"drop_ratio": 1.0}, r"eba.drop_ratio: .*less than 1.*1.0"),
        ("train", {"epochs": 0}, r"train.epochs: .*greater than 0.*0"),
        ("ker", {"alignment": "word"}, "ker.alignment"),
    ],
)
def test_impossible_values_are_refused_by_name(section, values, message):
    with pytest.raises(IebakerError, match=message):
        resolve(PARAMS | {section: values}, "synthetic", "full")


def test_every_declared_training_and_section_is_valid():
    for corpus in PARAMS["members"]:
        for variant in PARAMS["overrides"]:
            assert isinstance(resolve(PARAMS, corpus, variant), TrainingConfig)
    for benchmark, values in PARAMS["data"].items():
        parse(DataParams, values, benchmark)
    for model, section in ((SyntheticParams, "synthetic"), (SarParams, "sar"), (KeywordsParams, "keywords")):
        parse(model, PARAMS[section], section)


def test_unknown_corpus_and_shadowed_switch():
    with pytest.raises(IebakerError, match="members.rsicdd is not defined"):
        resolve(PARAMS, "rsicdd", "full")
    with pytest.raises(IebakerError, match="would shadow -S eba.scheme"):
        resolve(PARAMS | {"settings": {"synthetic": {"eba": {"scheme": "none"}}}}, "synthetic", "full")


def test_variants_resolve_to_what_they_are_called():
    schemes = {name: resolve(PARAMS, "synthetic", name).eba.scheme for name in PARAMS["overrides"]}
    assert schemes == {
        "clip": "none", "baseline": "none", "eba-coupled": "coupled", "eba-decoupled": "decoupled", "ker": "none",
        "full": PARAMS["eba"]["scheme"],
    }  # fmt: skip


def test_what_has_no_effect_is_not_in_the_configuration():
    baseline = canonical(resolve(PARAMS, "synthetic", "baseline"))
    changed = PARAMS | {
        "eba": PARAMS["eba"] | {"drop_ratio": 0.5},
        "ker": PARAMS["ker"] | {"weight": 9},
        "similarity": PARAMS["similarity"] | {"local_weight": 0.9},
    }
    assert canonical(resolve(changed, "synthetic", "baseline")) == baseline
    assert canonical(resolve(changed, "synthetic", "full")) != canonical(resolve(PARAMS, "synthetic", "full"))
    assert parse(TrainingConfig, yaml.safe_load(yaml.safe_dump(baseline)), "file").eba.scheme == "none"


LEAVES = st.one_of(st.integers(), st.text(max_size=3), st.none())
TREES = st.recursive(LEAVES, lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8)
MAPPINGS = st.dictionaries(st.sampled_from("abc"), TREES, max_size=3)


@given(MAPPINGS, MAPPINGS)
def test_merge_keeps_what_no_layer_names_and_takes_what_it_does(base, layer):
    merged = merge(base, layer)
    assert merge(merged, layer) == merged and merge(base, {}) == base and merge({}, layer) == layer
    for key in base.keys() - layer.keys():
        assert merged[key] == base[key]
    for key, value in layer.items():
        if not isinstance(value, dict):
            assert merged[key] == value


def test_the_readmes_command_is_the_published_recipe():
    """Section "Published behaviour" of the README: `-S` on the corpus ret3."""
    switched = {
        "eba": {"bank": "reference"},
        "ker": {"alignment": "reference", "vocabulary": "full"},
        "similarity": {"mask_padding": False},
    }
    config = resolve(merge(PARAMS, switched), "ret3", "full").model_dump()
    published = {
        "model": {"name": "ViT-B-32-quickgelu", "pretrained": "openai"},
        "train": {
            "epochs": 7, "batch_size": 100, "pairs": "all", "lr": 1.5e-5, "weight_decay": 0.7, "warmup_steps": 200,
            "grad_clip": 50.0, "logit_scale": 2.996, "crop_scale": 0.9, "flip": False, "injected_rate": 0.0,
        },
        "eba": {"scheme": "decoupled", "drop_ratio": 0.01, "start_epoch": 4, "bank": "reference", "bank_size": 200000},
        "ker": {
            "enabled": True, "weight": 0.5, "layers": 2, "mask_ratio": 1.0, "alignment": "reference",
            "vocabulary": "full",
        },
        "similarity": {"global_weight": 0.6, "local_weight": 0.4, "local_loss": 1.0, "mask_padding": False},
    }  # fmt: skip
    for section, values in published.items():
        assert {key: config[section][key] for key in values} == values
