"""What is impossible is refused before anything runs, with key, value and remedy, whether it is selected or not."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT

from iebaker.config import machine, pretrained
from iebaker.config.checks import check_all
from iebaker.errors import IebakerError
from iebaker.model.compat import open_clip
from iebaker.project.parameters import load_params

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
SCRATCH = PARAMS["recipes"]["scratch"]["model"]


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
        ("train.orientations", True, "a number is wanted, not true or false"),
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
        ("recipes.scratch.model", SCRATCH | {"pretrained": "opnai"}, "neither a file nor a tag of overhead-tiny"),
        ("model.pretrained", "nowhere.pt", "model.pretrained='nowhere.pt': no such file"),
        ("recipes.published.model.name", "ViT-B-32", "use model.name='ViT-B-32-quickgelu'"),
        ("recipes.published.model.pretrained", "opnai", "neither a file nor a tag of ViT-B-32-quickgelu .*openai"),
        ("variant.clip.model", {"name": "hf-hub:a/b", "pretrained": "openai"}, "brings its own weights"),
        ("variant.full", {"model": {"pretrained": "/nowhere/x.safetensors"}}, "no such file"),
        ("variant.full", {"train": {"device": "gpu"}}, "train.device='gpu' is no device; use auto, cpu"),
        ("variant.full", {"model": {"lock_text": True}, "ker": {"mask_ratio": 0.5}}, "model.lock_text=false"),
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
        ("variant.clip.model", {"name": "hf-hub:somebody/model", "pretrained": ""}),
        ("recipes.published.model.pretrained", "LAION400M-E32"),
        ("recipes.published.model.pretrained", "hf-hub:somebody/model/weights.pt"),
        ("variant.clip.model", {"name": "ViT-B/32-quickgelu", "pretrained": "openai"}),
        ("train.device", "cuda:1"),
        ("ker.mask_ratio", 0.5),  # which only a frozen text tower cannot have, and none is selected
        ("model", PARAMS["model"] | {"name": "hf-hub:somebody/model"}),
        ("corpus.mine", {"benchmarks": ["rsicd"], "recipe": "frozen"}),
        ("seeds", [3, 1, 2]),
    ],
)
def test_accepted(key, value):
    check_all(with_value(key, value))


def test_what_is_meant_for_the_selected_corpus_need_not_fit_another():
    """Weights of the embedded benchmark's small network; the other corpora's towers have none of that tag."""
    params = with_value("model.pretrained", "openai")
    with pytest.raises(IebakerError, match="synthetic/.* neither a file nor a tag of overhead-tiny"):
        check_all(params)
    published = copy.deepcopy(params["recipes"]["published"]["model"])
    params["corpus"]["mine"] = {"benchmarks": ["rsicd"], "recipe": "published", "model": published}
    check_all(params | {"corpora": ["mine"], "benchmarks": ["rsicd"]})


def test_what_open_clip_offers_is_read_without_importing_it():
    theirs = open_clip.pretrained._PRETRAINED
    assert pretrained.tags_of_models() == {
        name: {tag: bool(weights.get("quick_gelu")) for tag, weights in tags.items()} for name, tags in theirs.items()
    }
    shipped = {file.stem for file in Path(open_clip.__file__).parent.glob("model_configs/*.json")}  # tests add others
    assert shipped and shipped <= set(open_clip.list_models()) & set(pretrained.model_configs())


def test_an_epoch_of_whole_images_has_all_their_captions():
    params = with_value("train.pairs", "whole_images")
    machine.check_machine(params | {"synthetic": PARAMS["synthetic"] | {"train": 40}})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("synthetic.train", 1_000_000, "synthetic.train, val, test: 1000000, .* take at least .* GB"),
        ("synthetic.test", 1_000_000, "take at least 20,"),
        ("train.batch_size", 2001, "train.batch_size=2001 exceeds the 2000 pairs"),
        ("train.device", "cuda:99", "train.device='cuda:99': torch finds"),
    ],
)
def test_what_cannot_fit_this_machine(key, value, message, monkeypatch):
    monkeypatch.setattr(machine.shutil, "disk_usage", lambda _: SimpleNamespace(total=10**9))
    machine.check_machine(PARAMS)
    with pytest.raises(IebakerError, match=message):
        machine.check_machine(with_value(key, value))


def test_processes_are_not_all_put_on_one_accelerator(monkeypatch):
    monkeypatch.setattr(machine, "device_problem", lambda device: "")
    params = with_value("train", PARAMS["train"] | {"device": "cuda:1", "processes": 2})
    with pytest.raises(IebakerError, match="train.processes=2: all of them on train.device='cuda:1'.*device=cuda$"):
        machine.check_machine(params)
    machine.check_machine(with_value("train.device", "cuda:1"))


def test_a_reference_bank_is_memory(monkeypatch):
    params = with_value("eba", PARAMS["eba"] | {"bank": "reference", "bank_size": 10**9})
    monkeypatch.setattr(machine, "total_memory", lambda: 2**31)
    with pytest.raises(IebakerError, match=r"eba.bank_size=1000000000 takes at least 4.0 GB"):
        machine.check_machine(params)
    monkeypatch.setattr(machine, "total_memory", lambda: 2**33)
    machine.check_machine(params)


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 64))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("\0", "cannot be read: unacceptable character"),
        (BOMB, "aliases"),
        ("a: &a [*a]", "aliases"),
        ("[" * 2000, "cannot be read"),
        ("x: " + "9" * 6000, "cannot be read: Exceeds"),
        ("x: 2001-99-99", "cannot be read: month"),
        ("seeds: [1]", "line 6: 'seeds' is there twice"),
        ("? [a]\n: b", "unhashable"),
        ("!!python/object/apply:os.system [x]: 1", "could not determine a constructor"),
        ("# " + "x" * 2**20, "more than 1048576 bytes"),
    ],
)
def test_hostile_yaml_ends_in_a_line(more, message, tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text() + more)
    with pytest.raises(IebakerError, match=message) as raised:
        load_params(file)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1000


def test_aliases_of_a_user_are_fine(tmp_path):
    file = tmp_path / "params.yaml"
    more = "corpus:\n  other: &other {benchmarks: [rsicd], recipe: frozen}\n  another: *other\n"
    file.write_text((ROOT / "params.yaml").read_text().replace("corpus:  ", f"{more}  #"))
    assert load_params(file)["corpus"]["another"]["benchmarks"] == ["rsicd"]
