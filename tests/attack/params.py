"""params.yaml of somebody who errs, or means harm: every number and every choice, and the file itself."""

import copy
import math
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from conftest import PARAMS, ROOT

from attack.judge import Case
from iebaker.config.machine import check_machine
from iebaker.project.parameters import load_params

NUMBERS = {
    "synthetic": ("train", "val", "test", "image_size", "weak_rate", "seed"),
    "keywords": ("size", "min_count"),
    "train": ("epochs", "batch_size", "lr", "head_lr", "weight_decay", "warmup_steps", "grad_clip", "logit_scale",
              "crop_scale", "feature_dropout", "injected_rate", "chunk_size", "length_groups", "processes", "threads"),
    "model": ("unlocked_image", "unlocked_text"),
    "eba": ("drop_ratio", "start_epoch"),
    "ker": ("weight", "layers", "mask_ratio"),
    "local": ("loss",),
    "fusion": ("global_weight", "local_weight"),
    "sar": ("candidates", "bank_size", "weight_forward", "weight_reverse", "decay", "beta", "iterations"),
}  # fmt: skip
NO_NUMBER: tuple[Any, ...] = (True, "many", math.nan, [1], "1e300000")
CHOICES = {
    "train.pairs": ("one", 1), "train.leakage": (True, "dorp"), "train.precision": ("float8", 32),
    "train.orientations": (3, 0, "maybe", True), "train.positives": ("both", 1), "train.compile": ("maybe", 3),
    "train.tf32": ("maybe",), "train.flush_denormals": (2,), "model.lock_text": ("both",),
    "fusion.standardise": ("val",),
    "model.orientations": (3, 0, "maybe", True),
    "model.image_size": (-1, 10**6, "large", True),
    "train.device": ("gpu", "cuda:x", "", "cpu; touch X", 0), "eba.scheme": ("off", False), "eba.bank": ("full",),
    "eba.bank_size": ("epochs", 0, 1.5, True), "ker.enabled": ("perhaps", 7), "ker.alignment": ("word",),
    "ker.vocabulary": ("some",), "local.precision": ("float64",), "local.mask_padding": (3,),
    "sar.method": ("sorted", None),
    "sar.strength": (-1, math.nan, True, "strong"), "model.name": ("ViT-B-23", "", "local-dir:/nowhere", "a\0b"),
    "model.pretrained": ("opnai", "/nowhere/x.pt"), "model.lock_image": ("yes please",),
    "benchmarks": ([], ["nowhere"], "synthetic", ["synthetic", "synthetic"], [["synthetic"]], None),
    "corpora": ([], ["../x"], ["a b"], ["synthetic;touch X"], ["synthetic\n"], [""], [3]),
    "variants": ([], ["$(touch X)"], ["full", "full"], [".."], [None]),
    "seeds": ([], [True], ["00"], [0.5], [-1], [2**32], [0, 0], 0, ["0;x"]),
    "archives": (["nowhere"], [1]),
    "benchmark.synthetic": ({}, None, {"source": ""}, {"source": "synthetic", "image_size": 10**9}, {"sorce": "x"},
                            {"source": "x", "sha256": "12"}, {"source": ["a"], "sha256": ["0" * 64] * 2}),
    "corpus.synthetic": ({}, {"benchmarks": []}, {"benchmarks": ["synthetic"], "recipe": "scrath"},
                         {"benchmarks": ["synthetic"], "eba": {"scheme": "none"}}, {"benchmarks": ["rsicd"]}),
    "variant.full": ({"eba": {"schem": "none"}}, {"train": 3}, {"fusion": {"global_weight": 0, "local_weight": 0}},
    [1]),
    "recipes.scratch": ({"model": {"nam": "x"}}, {"sar": {"method": "none"}}, {"train": {"epochs": 10**9}}, "x"),
}  # fmt: skip
MISSPELT = ("trian", "modle", "fuson", "seed", "benchmrks", "train.epohcs", "eba.schem", "sar.iteratons", "ker.layer",
            "fusion.standardize", "local.los", "keywords.sizes", "synthetic.weakrate",
            "benchmark.rsicd.sorce")  # fmt: skip
TEXTS = ("\0", "x: " + "9" * 6000, "[" * 5000, "a: &a [*a]", "seeds: [1]", "x: 2001-99-99", "\t- x", "? [a]\n: b",
    "%YAML 9",
         "!!python/object/apply:os.system [touch X]: 1", "# " + "x" * 2**21, "1: x", "null: x", "'a\\nb': 1", "- x",
         "a0: &a0 [x,x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1},*a{n - 1}]\n" for n in range(1, 99)))  # fmt: skip
WANTED = {
    "train.epochs": (0, 1, "3"), "train.lr": ("1e-5", 1, "3e-05"), "train.device": ("cpu", "auto"),
    "train.batch_size": (2, 2000),
    "train.threads": (1, 64), "train.chunk_size": (0, 7, 5000), "train.length_groups": (1, 500),
    "eba.scheme": ("none", "coupled"), "eba.bank_size": ("epoch", 1), "ker.enabled": (False,),
    "ker.layers": (0, 8), "local.loss": (0, 1), "sar.method": ("none", "sinkhorn"), "sar.strength": (math.inf, 0, 5),
    "sar.bank_size": (0,), "seeds": ([3, 1, 2], [2**32 - 1]), "variants": (["zero-shot", "full"], ["clip"]),
    "synthetic.train": (100, 50_000), "keywords.size": (1, 5000), "corpus.mine": ({"benchmarks": ["rsicd"],
    "recipe": "frozen"},),
    "benchmark.mine": ({"source": "/data/it is mine"}, {"source": ["a.zip", "b.json"]}), "archives": ([],),
    "variant.mine": ({}, {"model": {"name": "hf-hub:somebody/model", "pretrained": ""}}),
}  # fmt: skip


def cases() -> Iterator[Case]:
    """Each value alone in the params.yaml of the project."""
    for section, keys in NUMBERS.items():
        for key in keys:
            for value in NO_NUMBER:
                yield _case(f"{section}.{key}", value, "refused")
    for key, values in CHOICES.items():
        for value in values:
            yield _case(key, value, "refused")
    for key in MISSPELT:
        yield _case(key, 1, "refused")
    for text in TEXTS:
        yield Case(f"text {text[:20]!r}", partial(_load, (ROOT / "params.yaml").read_text() + text), "refused")
    for key, values in WANTED.items():
        for value in values:
            yield _case(key, value, "done")


def _case(key: str, value: Any, expected: str) -> Case:
    params: Any = copy.deepcopy(PARAMS)
    section = params
    *names, last = key.split(".")
    for name in names:
        section = section[name]
    section[last] = value
    return Case(f"{key}={value!r:.40}", partial(_load, yaml.safe_dump(params, sort_keys=False)), expected)


def _load(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params.yaml"
        file.write_text(text)
        check_machine(load_params(file))
