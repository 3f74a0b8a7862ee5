"""Captions in groups of similar length, so that little padding is computed."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from iebaker.model.adapters import Trunk


def by_length(run: Callable[[Tensor | Trunk], Trunk], inputs: Tensor | Trunk, padding: Tensor, groups: int) -> Trunk:
    """What `run` gives for a batch, group by group.

    Args:
        run: a trunk, in which no item of a batch depends on another and nothing on padding at an item's end.
        inputs: token ids (B, L), or kept features.
        padding: (B, L) bool of the inputs, True at the end of each item.
        groups: of about equally many items.

    Returns:
        The items in their order; tokens that are padding mean nothing.
    """
    lengths = (~padding).sum(1)
    order = torch.argsort(lengths, stable=True)
    *shorter, longest = order.chunk(groups)
    parts = [run(_rows(inputs, rows, int(lengths[rows[-1]]))) for rows in shorter]
    # all columns, also those that are padding here: chunks of a larger batch are joined
    parts.append(run(_rows(inputs, longest, padding.shape[1])))
    columns = max(part.padding.shape[1] for part in parts)
    tokens = torch.cat([F.pad(part.tokens, (0, 0, 0, columns - part.tokens.shape[1])) for part in parts])
    filled = torch.cat([F.pad(part.padding, (0, columns - part.padding.shape[1]), value=True) for part in parts])
    pooled = torch.cat([part.pooled for part in parts])
    return Trunk(*(values.index_select(0, torch.argsort(order)) for values in (pooled, tokens, filled)))


def _rows(inputs: Tensor | Trunk, rows: Tensor, columns: int) -> Tensor | Trunk:
    if isinstance(inputs, Trunk):
        return Trunk(inputs.pooled[rows], inputs.tokens[rows, :columns], inputs.padding[rows, :columns])
    return inputs[rows, :columns]
