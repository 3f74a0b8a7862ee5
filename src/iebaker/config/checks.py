"""params.yaml before anything runs: every definition, whether selected or not, and what must fit together."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from iebaker.config.declarations import check, resolve
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
BRINGS_ITS_WEIGHTS = ("hf-hub:", "local-dir:")


def check_all(params: dict[str, Any]) -> dict[str, Any]:
    """params.yaml as plain data, if every training that it defines could be configured.

    Raises:
        IebakerError: naming key, value, and what is allowed.
    """
    check(params)
    parse(SyntheticParams, params["synthetic"], "synthetic")
    keywords = parse(KeywordsParams, params["keywords"], "keywords")
    if keywords.file and not Path(keywords.file).is_file():
        raise IebakerError(f"params: keywords.file={keywords.file!r}: no such file")
    for name, values in params["benchmark"].items():
        parse(BenchmarkParams, values, f"benchmark.{name}")
    for corpus in params["corpus"]:
        for variant in params["variant"]:
            training, evaluation = resolve(params, corpus, variant)
            for problem in _problems(training, evaluation):
                raise IebakerError(f"params: {corpus}/{variant}: {problem}")
    for corpus in params["corpora"]:  # of others the files may lie elsewhere
        for problem in _missing_files(resolve(params, corpus, params["variants"][0])[0]):
            raise IebakerError(f"params: {corpus}: {problem}")
    return params


def _problems(training: TrainingConfig, evaluation: EvaluationConfig) -> Iterator[str]:
    """What no single section can know."""
    fusion, sar = evaluation.fusion, evaluation.sar
    if not fusion.global_weight and not fusion.local_weight:
        yield "fusion.global_weight and fusion.local_weight are both 0 and leave no similarity; raise one of them"
    if sar.method == "querybank" and not sar.bank_size:
        yield "sar.method=querybank needs training queries; set sar.bank_size above 0 (1000)"
    if not training.model.name:
        yield "model.name is empty; name a model of open_clip"
    elif problem := _model_problem(training.model.name):
        yield f"model.name={training.model.name!r} {problem}"


def _missing_files(training: TrainingConfig) -> Iterator[str]:
    name, pretrained = training.model.name, training.model.pretrained
    if name.startswith("local-dir:") and not Path(name.removeprefix("local-dir:")).is_dir():
        yield f"model.name={name!r}: no such folder"
    if Path(pretrained).suffix in CHECKPOINT_SUFFIXES and not Path(pretrained).is_file():
        yield f"model.pretrained={pretrained!r}: no such file"


def _model_problem(name: str) -> str:
    """Why no such model exists; "" if it does, or only its hub or folder knows. Imports neither torch nor open_clip."""
    if name.startswith(BRINGS_ITS_WEIGHTS):
        return ""
    known = _model_names()
    if not known or name in known or name.replace("/", "-") in known:
        return ""
    return f"is unknown; {nearest(name, known)}"


def _model_names() -> set[str]:
    ours = Path(__file__).parents[1] / "model/configs"
    spec = importlib.util.find_spec("open_clip")
    theirs = Path(spec.origin).parent / "model_configs" if spec and spec.origin else ours
    return {path.stem for folder in (ours, theirs) for path in folder.glob("*.json")}
