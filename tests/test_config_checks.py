"""What is impossible is refused before anything runs, with key, value and remedy, whether it is selected or not."""

import copy

import pytest
import yaml
from conftest import ROOT

from iebaker.config.checks import check_all
from iebaker.errors import IebakerError

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def with_value(key: str, value):
    params = copy.deepcopy(PARAMS)
    *sections, last = key.split(".")
    section = params
    for name in sections:
        section = section[name]
    section[last] = value
    return params


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("trian", {}, "trian: no such key; did you mean train?"),
        ("train.epohcs", 3, "train.epohcs: no such key; did you mean epochs?"),
        ("sar.iteratons", 3, "sar.iteratons: no such key; did you mean iterations?"),
        ("fusion.standardize", True, "fusion.standardize: no such key; did you mean standardise?"),
        ("benchmark.rsicd", {"sorce": "x"}, "benchmark.rsicd.sorce: no such key; did you mean source?"),
        ("variant.clip", {"eba": {"schem": "none"}}, "clip.eba.schem: no such key; did you mean scheme?"),
        ("corpus.ret3", {"benchmarks": ["rsicd"], "recipe": "froze"}, "recipes.froze is not defined"),
        ("train.epochs", True, "a number is wanted, not true or false"),
        ("seeds", [True], "seeds.0: "),
        ("seeds", ["00"], "seeds.0: .*'00'"),
        ("seeds", [0.5], "seeds.0: .*0.5"),
        ("train.lr", float("inf"), "train.lr: .*finite"),
        ("train.weight_decay", float("nan"), "train.weight_decay: "),
        ("ker.weight", float("inf"), "ker.weight: "),
        ("train.lr", "1e300000", "train.lr: "),
        ("ker.layers", 10_000, "ker.layers: .*64.*10000"),
        ("sar.iterations", 10**9, "sar.iterations: .*10000"),
        ("synthetic.train", 10**9, "synthetic.train: .*1000000"),
        ("keywords.size", 0, "keywords.size: "),
        ("keywords.file", "nowhere.txt", "keywords.file='nowhere.txt': no such file"),
        ("model.name", "ViT-B-23", "model.name='ViT-B-23' is unknown; did you mean ViT-B-32?"),
        ("model.name", "", "model.name is empty"),
        ("model.name", "local-dir:nowhere", "no such folder"),
        ("model.pretrained", "nowhere.pt", "model.pretrained='nowhere.pt': no such file"),
        ("sar.method", "querybnk", "sar.method: .*'querybank'.*'querybnk'"),
        ("variant.full", {"fusion": {"global_weight": 0, "local_weight": 0}}, "both 0"),
        ("variant.clip", {"sar": {"method": "querybank", "bank_size": 0}}, "sar.bank_size above 0"),
        ("train", None, "train: .*dictionary"),
        ("train.epochs", "x" * 9999, r"\.\.\."),
    ],
)
def test_refused(key, value, message):
    with pytest.raises(IebakerError, match=message) as raised:
        check_all(with_value(key, value))
    assert len(str(raised.value)) < 1000


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.epochs", 1),
        ("train.lr", "1e-5"),
        ("eba.scheme", "none"),
        ("ker.enabled", False),
        ("sar.strength", float("inf")),
        ("fusion.local_weight", 0.4),
        ("local.loss", 0),
        ("model.name", "hf-hub:somebody/model"),
        ("corpus.mine", {"benchmarks": ["rsicd"], "recipe": "frozen"}),
        ("seeds", [3, 1, 2]),
    ],
)
def test_accepted(key, value):
    check_all(with_value(key, value))
