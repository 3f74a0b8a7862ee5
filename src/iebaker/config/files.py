"""The resolved parameters of one variant on disk: training.yaml and evaluation.yaml."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from iebaker.atomic import write_text
from iebaker.config.params import EvaluationConfig, TrainingConfig, parse
from iebaker.config.section import Section

TRAINING_FILE = "training.yaml"
EVALUATION_FILE = "evaluation.yaml"


def write_configuration(folder: Path, training: TrainingConfig, evaluation: EvaluationConfig) -> None:
    """Write both; equal parameters give equal bytes."""
    files: dict[str, Section] = {TRAINING_FILE: training, EVALUATION_FILE: evaluation}
    for name, config in files.items():
        write_text(folder / name, yaml.safe_dump(config.model_dump(), sort_keys=True))


def read_training(folder: Path) -> TrainingConfig:
    """What shapes a training."""
    path = folder / TRAINING_FILE
    return parse(TrainingConfig, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def read_evaluation(folder: Path) -> EvaluationConfig:
    """What shapes an evaluation."""
    path = folder / EVALUATION_FILE
    return parse(EvaluationConfig, yaml.safe_load(path.read_text(encoding="utf-8")), str(path))


def dotted(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested parameters by dotted name, as `-S` takes them."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        nested = isinstance(value, Mapping)
        found |= dotted(value, f"{prefix}{key}.") if nested else {f"{prefix}{key}": value}
    return found
