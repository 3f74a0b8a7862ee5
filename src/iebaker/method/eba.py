"""Eliminate before align: weakly correlated pairs are no anchors (method: EBA).

Banks remember the similarities of the positive pairs seen; at the start of an epoch a low quantile of each bank becomes
a threshold; a pair whose similarity is not above it is dropped as an anchor and stays as a negative.
"""

from typing import Literal

import torch
from torch import Tensor

from iebaker.config.params import EbaParams

NOTHING_DROPPED = float("-inf")


class SimilarityBank:
    """First in, first out: the similarities of the last `size` positive pairs, oldest first.

    Args:
        size: entries kept.
        kind: "filled" starts empty; "reference" starts, as published, with `size` draws of N(0, 1), which count.
        generator: of those draws.
    """

    def __init__(
        self, size: int, kind: Literal["filled", "reference"], generator: torch.Generator | None = None
    ) -> None:
        self.size = size
        self.values = torch.randn(size, generator=generator) if kind == "reference" else torch.empty(0)

    def enqueue(self, values: Tensor) -> None:
        """Append `values` (B,); the oldest beyond `size` leave."""
        values = values.detach().float()
        self.values = torch.cat([self.values.to(values.device), values])[-self.size :]

    def threshold(self, drop_ratio: float) -> float:
        """sorted(bank)[int(drop_ratio * n)], clamped to the last entry; minus infinity if ratio or bank are empty."""
        entries = len(self.values)
        if drop_ratio == 0 or entries == 0:
            return NOTHING_DROPPED
        return self.values.sort().values[min(int(drop_ratio * entries), entries - 1)].item()


class Elimination:
    """Decides for each batch which pairs stay as anchors of the global and of the local loss.

    Args:
        params: the `eba` section; None eliminates nothing.
        epoch_pairs: (image, caption) pairs of one epoch, the size of a bank of `bank_size: epoch`.
        generator: of the noise that a bank of `bank: reference` starts with.

    Attributes:
        threshold_global, threshold_local: of the current epoch; minus infinity drops nothing. threshold_local is
            minus infinity unless the scheme is decoupled.
    """

    def __init__(self, params: EbaParams | None, epoch_pairs: int, generator: torch.Generator | None = None) -> None:
        self.params = params
        self.threshold_global = self.threshold_local = NOTHING_DROPPED
        if params is not None:
            size = epoch_pairs if params.bank_size == "epoch" else params.bank_size
            self.bank_global = SimilarityBank(size, params.bank, generator)
            self.bank_local = SimilarityBank(size, params.bank, generator)

    @property
    def thresholds(self) -> dict[str, float]:
        """Of both similarities, by name."""
        return {"global": self.threshold_global, "local": self.threshold_local}

    def start_epoch(self, epoch: int) -> None:
        """Fix the thresholds of `epoch` (0-based) from what the banks hold now."""
        if self.params is None:
            return
        ratio = self.params.drop_ratio if epoch >= self.params.start_epoch else 0.0
        self.threshold_global = self.bank_global.threshold(ratio)
        self.threshold_local = self.bank_local.threshold(ratio if self.params.scheme == "decoupled" else 0.0)

    def masks(self, positive_global: Tensor, positive_local: Tensor | None) -> tuple[Tensor, Tensor]:
        """Anchors of a batch; its similarities enter the banks, those of dropped pairs too.

        Args:
            positive_global: (B,) global similarities of the batch's positive pairs.
            positive_local: (B,) local similarities of them, scaled; None if there is no local loss.

        Returns:
            keep_global, keep_local: (B,) bool, True for anchors that stay, at least one each. They are the same
            unless the scheme is decoupled and there are local similarities.
        """
        keep_global = keep_local = _above(positive_global, self.threshold_global)
        if self.params is None:
            return keep_global, keep_local
        self.bank_global.enqueue(positive_global)
        if positive_local is not None:
            if self.params.scheme == "decoupled":
                keep_local = _above(positive_local, self.threshold_local)
            self.bank_local.enqueue(positive_local)
        return keep_global, keep_local

    def state_dict(self) -> dict[str, Tensor]:
        """The banks' contents, (n,) float32 each, as they are between two epochs."""
        if self.params is None:
            return {}
        return {"global": self.bank_global.values, "local": self.bank_local.values}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over the banks of `state_dict`; thresholds follow at the next `start_epoch`."""
        if self.params is not None:
            self.bank_global.values, self.bank_local.values = state["global"], state["local"]


def _above(similarity: Tensor, threshold: float) -> Tensor:
    """(B,) bool, True above the threshold; the most similar pair stays where that would leave none."""
    similarity = similarity.detach().float()
    keep = similarity > threshold
    keep[similarity.argmax()] |= ~keep.any()
    return keep
