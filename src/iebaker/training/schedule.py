"""Learning rate over a training run: linear warm-up, then a cosine to 0 (method: Objective)."""

import math

from iebaker.errors import IebakerError


def check_warmup(warmup: int, total: int) -> None:
    """Refuse a warm-up that leaves no step for the cosine.

    Raises:
        IebakerError: naming both lengths, in optimiser steps, and what to change.
    """
    if warmup >= total:
        raise IebakerError(
            f"train.warmup_steps={warmup} is not below the run's {total} optimiser steps: the learning rate would "
            f"never come down; set train.warmup_steps below {total} (a tenth, {total // 10}, is usual) or train longer"
        )


def learning_rate(step: int, base: float, warmup: int, total: int) -> float:
    """Learning rate of one optimiser step.

    Args:
        step: 0-based optimiser step, below `total`.
        base: peak learning rate, reached at step `warmup - 1`.
        warmup: steps of linear warm-up, (step + 1) / warmup.
        total: steps of the whole run; the cosine takes the `total - warmup` after the warm-up.

    Raises:
        IebakerError: if `warmup` is not below `total`.
    """
    check_warmup(warmup, total)
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / (total - warmup)
    return 0.5 * base * (1 + math.cos(math.pi * progress))
