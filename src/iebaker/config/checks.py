"""params.yaml before anything runs: every definition, whether selected or not, and what must fit together."""

import os
import re
from collections.abc import Iterator
from typing import Any

from iebaker.config import pretrained
from iebaker.config.declarations import check, resolve, without_overrides
from iebaker.config.named_files import LOCAL_DIRECTORY
from iebaker.config.params import (
    BenchmarkParams,
    EvaluationConfig,
    KeywordsParams,
    SyntheticParams,
    TrainingConfig,
    nearest,
    parse,
)
from iebaker.errors import IebakerError

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".safetensors", ".npz")
HUB = "hf-hub:"
PACKAGED = "packaged"
DEVICE = re.compile(r"auto|cpu|(cuda|mps|xpu|hpu|npu|mtia)(:\d{1,3})?")
CAPTIONS_PER_IMAGE = 5  # of the drawn benchmark


def check_all(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml as plain data, if every training that it defines could be configured.

    Raises:
        IebakerError: naming key, value, and what is allowed.
    """
    params = check(params)
    parse(SyntheticParams, params["synthetic"], "synthetic")
    keywords = parse(KeywordsParams, params["keywords"], "keywords")
    if keywords.file and not os.path.isfile(keywords.file):
        raise IebakerError(f"params: keywords.file={keywords.file!r}: no such file")
    for name, values in params["benchmark"].items():
        parse(BenchmarkParams, values, f"benchmark.{name}")
    as_defined = without_overrides(params)
    for corpus in params["corpus"]:
        for variant in params["variant"]:
            selected = corpus in params["corpora"] and variant in params["variants"]
            refused = _refused(params, corpus, variant, selected)
            # what -S names is meant for what is selected: of others it may make what nobody would train
            if refused and (selected or _refused(as_defined, corpus, variant, selected)):
                raise refused
    for corpus in params["corpora"]:  # of others the files may lie elsewhere
        for variant in params["variants"]:
            for problem in _missing_files(resolve(params, corpus, variant)[0]):
                raise IebakerError(f"params: {corpus}/{variant}: {problem}")
    return params


def _refused(params: dict[str, Any], corpus: str, variant: str, selected: bool) -> IebakerError | None:
    """Why this training cannot be configured."""
    try:
        training, evaluation = resolve(params, corpus, variant)
    except IebakerError as error:
        return error
    model = _model_problems(training.model.name, training.model.pretrained)
    for problem in (*_problems(evaluation), *(_training_problems(training) if selected else ()), *model):
        return IebakerError(f"params: {corpus}/{variant}: {problem}")
    return None


def _problems(evaluation: EvaluationConfig) -> Iterator[str]:
    """What no single section can know."""
    fusion, sar = evaluation.fusion, evaluation.sar
    if not fusion.global_weight and not fusion.local_weight:
        yield "fusion.global_weight and fusion.local_weight are both 0 and leave no similarity; raise one of them"
    if sar.method == "querybank" and not sar.bank_size:
        yield "sar.method=querybank needs training queries; set sar.bank_size above 0 (1000)"


def _training_problems(training: TrainingConfig) -> Iterator[str]:
    if not DEVICE.fullmatch(training.train.device):
        yield f"train.device={training.train.device!r} is no device; use auto, cpu, cuda, cuda:0 or mps"
    if training.ker and training.model.lock_text and training.ker.mask_ratio < 1:
        yield (
            "ker.mask_ratio < 1 masks anew in each epoch, which a frozen text trunk can't cache; "
            "set ker.mask_ratio=1 or model.lock_text=false"
        )


def _missing_files(training: TrainingConfig) -> Iterator[str]:
    name, weights = training.model.name, training.model.pretrained
    if name.startswith(LOCAL_DIRECTORY) and not os.path.isdir(name.removeprefix(LOCAL_DIRECTORY)):
        yield f"model.name={name!r}: no such folder"
    if not weights.startswith(HUB) and weights.endswith(CHECKPOINT_SUFFIXES) and not os.path.isfile(weights):
        yield f"model.pretrained={weights!r}: no such file"


def _model_problems(name: str, weights: str) -> Iterator[str]:
    """Why there is no such model, or no such weights of it, as far as neither its hub nor its folder must be asked."""
    if not name:
        yield "model.name is empty; name a model of open_clip"
        return
    if name.startswith((HUB, LOCAL_DIRECTORY)):
        if weights:
            yield f"model.pretrained={weights!r}: {name} brings its own weights; leave pretrained empty"
        return
    known, tags = pretrained.model_configs(), pretrained.tags_of_models()
    found = name.replace("/", "-")
    if found not in known:
        yield f"model.name={name!r} is unknown; {nearest(name, known)}"
        return
    if not tags or weights in ("", PACKAGED) or weights.startswith(HUB) or weights.endswith(CHECKPOINT_SUFFIXES):
        return
    if os.path.isfile(weights):  # any other name of a checkpoint
        return
    tag = weights.lower().replace("-", "_")  # as open_clip does
    if tag not in tags.get(found, {}):
        there = ", ".join(tags.get(found, {})) or "none"
        yield f"model.pretrained={weights!r}: neither a file nor a tag of {name} (its tags: {there})"
    elif tags[found][tag] and not pretrained.is_quick(found):
        yield (
            f"model.name={name!r}: the weights {weights!r} were trained with the activation QuickGELU, this name "
            f"builds GELU and would silently give other numbers; use model.name={name + pretrained.QUICK_NAME!r}"
        )
