"""CLIP's activation, x sigmoid(1.702 x), in one function of torch."""

import torch.nn.functional as F
from torch import Tensor, nn

from iebaker.model.compat import open_clip

FACTOR = 1.702


class QuickGELU(nn.Module):
    """x sigmoid(1.702 x) as silu(1.702 x) / 1.702, the same but for rounding.

    For the gradient open_clip's own keeps both factors, and the next layer the product; this keeps one tensor less.
    """

    def forward(self, values: Tensor) -> Tensor:
        """Of any shape."""
        return F.silu(FACTOR * values) / FACTOR


def exchange(module: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> None:
    """Put a `new` activation in the place of each `old` one; they have no weights."""
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is old:
                setattr(parent, name, new())


def replace_quick_gelu(module: nn.Module) -> None:
    """Use `QuickGELU` wherever open_clip uses its own."""
    exchange(module, open_clip.transformer.QuickGELU, QuickGELU)
