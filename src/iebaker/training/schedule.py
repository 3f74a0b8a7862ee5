"""Learning rate over a training run: linear warm-up, then a cosine to 0 (method: Objective)."""

import math


def warmup_of(wanted: int, total: int) -> int:
    """Steps of warm-up: `wanted`, but at most a tenth of the run's `total` steps, so that a short run works too."""
    return min(wanted, total // 10)


def learning_rate(step: int, base: float, warmup: int, total: int) -> float:
    """Learning rate of one optimiser step.

    Args:
        step: 0-based optimiser step, below `total`.
        base: peak learning rate, reached at step `warmup - 1`.
        warmup: steps of linear warm-up, (step + 1) / warmup.
        total: steps of the whole run, more than `warmup`; the cosine takes the `total - warmup` after the warm-up.
    """
    if step < warmup:
        return base * (step + 1) / warmup
    progress = (step - warmup) / (total - warmup)
    return 0.5 * base * (1 + math.cos(math.pi * progress))
