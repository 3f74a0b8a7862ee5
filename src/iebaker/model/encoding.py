"""Features of images and captions for evaluation: batch by batch, in float32 on the CPU."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from iebaker.errors import IebakerError
from iebaker.model.tower import Tower, TowerOutput
from iebaker.model.towers import TokenReader


class Encoded(NamedTuple):
    """Features of distinct items, and (N,) the row of each item among them."""

    features: TowerOutput
    row: np.ndarray


def pick_device(wanted: str) -> torch.device:
    """The device to run on; `auto` is the accelerator if there is one.

    Raises:
        IebakerError: if it is not there.
    """
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise IebakerError(f"train.device={wanted}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from error
    return torch.device(wanted)


def encode(
    tower: Tower[Any], items: Sequence[Any] | Tensor, tokens: bool = True, progress: str = "", orientation: int = 0
) -> TowerOutput:
    """Features of items in their order: (N, d) pooled and (N, L, d) tokens.

    Args:
        tower: either side of a model.
        items: images or captions, as `Tower.inputs` takes them.
        tokens: False keeps none: L is 0.
        progress: name in a progress bar; none without.
        orientation: of images, as `images.oriented` numbers them.
    """
    tower.eval()

    def run(rows: np.ndarray) -> TowerOutput:
        chosen = _rows(items, rows)
        if orientation:
            chosen = tower.reader.oriented(chosen, orientation)
        return _to_cpu(tower(tower.inputs(chosen)), tokens)

    return stack(list(tower.piecewise(run, len(items), progress)))


def encode_images(tower: Tower[Any], images: Sequence[Any], tokens: bool = True, progress: str = "") -> Encoded:
    """Features of images, each a row of its own.

    Where the tower's `orientations` say so, `pooled` is the mean of the normalised embeddings of as many; an overhead
    image has no upright one. Tokens are those of the image as it is.
    """
    features, every = encode(tower, images, tokens, progress), np.arange(len(images))
    if tower.orientations == 1:
        return Encoded(features, every)
    pooled = F.normalize(features.pooled, dim=-1)
    for orientation in range(1, tower.orientations):
        turned = encode(tower, images, False, progress and f"{progress}, turned", orientation)
        pooled += F.normalize(turned.pooled, dim=-1)
    return Encoded(features._replace(pooled=pooled / tower.orientations), every)


def encode_captions(
    tower: Tower[TokenReader], captions: Sequence[str], tokens: bool = True, progress: str = ""
) -> Encoded:
    """Features of captions, each distinct one encoded once, so that identical captions tie exactly."""
    distinct, row_of_caption = np.unique(np.asarray(captions, dtype=object).astype(str), return_inverse=True)
    token_ids = tower.reader.ids(distinct.tolist())
    # captions of like length share a batch: less padding
    order = np.argsort(tower.reader.lengths(token_ids).numpy(), kind="stable")
    features = encode(tower, token_ids[order], tokens, progress)
    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    return Encoded(features, place[row_of_caption])


def stack(parts: Sequence[TowerOutput]) -> TowerOutput:
    """Concatenate outputs over the batch, padding token sequences to the longest."""
    longest = max(part.tokens.shape[1] for part in parts)

    def lengthen(values: Tensor, fill: float) -> Tensor:
        missing = longest - values.shape[1]
        if missing == 0:
            return values
        return torch.cat([values, values.new_full((len(values), missing, *values.shape[2:]), fill)], 1)

    return TowerOutput(
        torch.cat([part.pooled for part in parts]),
        torch.cat([lengthen(part.tokens, 0.0) for part in parts]),
        torch.cat([lengthen(part.padding, True) for part in parts]),
    )


def _rows(items: Any, rows: np.ndarray) -> Any:
    return items[rows] if isinstance(items, (Tensor, np.ndarray)) else [items[row] for row in rows]


def _to_cpu(output: TowerOutput, tokens: bool) -> TowerOutput:
    if not tokens:
        output = TowerOutput(output.pooled, output.tokens[:, :0], output.padding[:, :0])
    return TowerOutput(*(values.cpu().float() if values.is_floating_point() else values.cpu() for values in output))
