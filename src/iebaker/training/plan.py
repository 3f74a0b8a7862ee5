"""What a training will see and how long it will take, worked out before any model is built."""

from dataclasses import dataclass

import pandas as pd

from iebaker.config.params import TrainingConfig
from iebaker.corpus import loading
from iebaker.corpus.loading import Member
from iebaker.errors import IebakerError
from iebaker.training.schedule import warmup_of


@dataclass(frozen=True)
class Plan:
    """One training's pairs and steps.

    Attributes:
        members: the corpus.
        pairs: (image, caption) pairs that may be trained on, as `loading.training_pairs` gives them.
        left_out: training images that may not.
        epoch_pairs: pairs that an epoch visits, the incomplete batch among them.
        steps: optimiser steps of the whole training.
        warmup: those of its warm-up.
    """

    members: list[Member]
    pairs: pd.DataFrame
    left_out: pd.DataFrame
    epoch_pairs: int
    steps: int
    warmup: int

    @property
    def captions(self) -> list[str]:
        """The caption of each pair."""
        captions: list[str] = self.pairs["caption"].tolist()
        return captions


def make_plan(config: TrainingConfig, members: list[Member], seed: int) -> Plan:
    """The plan of one training.

    Raises:
        IebakerError: for everything that cannot be trained: no validation split, no pairs, fewer pairs than a
            batch, masks drawn anew for a frozen text trunk. Zero epochs need validation alone.
    """
    recipe = config.train
    if without := [member.name for member in members if not loading.split_of(member, "val").captions]:
        raise IebakerError(
            f"{', '.join(without)}: no validation split, and every choice is made on validation; "
            f"set benchmark.{without[0]}.validation_share"
        )
    pairs, left_out = loading.training_pairs(members, recipe.injected_rate, seed, recipe.leakage)
    epoch_pairs = loading.pairs_per_epoch(pairs, recipe.pairs)
    if not recipe.epochs:
        return Plan(members, pairs, left_out, epoch_pairs, steps=0, warmup=0)
    if not len(pairs):
        raise IebakerError(
            f"no training pair: {len(left_out)} training images were left out as near-duplicates of "
            "validation or test images, see reports/audit.json; look at the images and the splits"
        )
    if epoch_pairs < recipe.batch_size:
        raise IebakerError(
            f"train.batch_size={recipe.batch_size} exceeds the {epoch_pairs} pairs of an epoch; lower it"
        )
    if recipe.batch_size % recipe.processes:
        raise IebakerError(
            f"train.batch_size={recipe.batch_size} can't be shared equally by train.processes={recipe.processes}; make "
            "it a multiple"
        )
    if config.ker and config.model.lock_text and config.ker.mask_ratio < 1:
        raise IebakerError(
            "ker.mask_ratio < 1 masks anew in each epoch, which a frozen text trunk can't cache; "
            "set ker.mask_ratio=1 or model.lock_text=false"
        )
    steps = recipe.epochs * (epoch_pairs // recipe.batch_size)
    return Plan(members, pairs, left_out, epoch_pairs, steps, warmup_of(recipe.warmup_steps, steps))
