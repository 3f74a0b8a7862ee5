"""A training that takes seconds: three epochs of the tiny corpus, with every part of the method."""

from pathlib import Path
from typing import Any

from conftest import FIXTURES, resolved

from iebaker.config.params import TrainingConfig
from iebaker.corpus.loading import Member
from iebaker.model.compat import open_clip
from iebaker.training.plan import make_plan
from iebaker.training.trainer import Trainer

QUICK = {
    "train": {
        "epochs": 3,
        "batch_size": 20,
        "pairs": "one_per_image",
        "warmup_steps": 3,
        "crop_scale": 0.9,
        "threads": 1,
    },
    "eba": {"scheme": "decoupled", "drop_ratio": 0.2, "start_epoch": 1, "bank_size": "epoch"},
    "ker": {"weight": 0.5},
    "local": {"loss": 1.0},
}
# towers without batch normalisation, to which a part of a batch is not the batch
TRANSFORMER = {"model": {"name": "transformer-tiny"}}
open_clip.add_model_config(FIXTURES / "models")
FROZEN = {"model": {"lock_image": True, "lock_text": True}, "train": {"crop_scale": 1.0}}


def config(**sections: dict[str, Any]) -> TrainingConfig:
    """Its configuration, with some values of its sections changed."""
    names = QUICK.keys() | sections.keys()
    return resolved(**{name: QUICK.get(name, {}) | sections.get(name, {}) for name in names})[0]


def make_trainer(members: list[Member], seed: int = 0, features: Path | None = None, **sections: Any) -> Trainer:
    """Ready for its first epoch."""
    parameters = config(**sections)
    return Trainer(parameters, make_plan(parameters, members, seed), seed, features)
