"""Random crops and mirroring of training images, by the library's geometry."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from iebaker.model.compat import torchvision

RATIO = (3 / 4, 4 / 3)  # of width to height


class Crops(NamedTuple):
    """What is cut out of B square images.

    Attributes:
        boxes: (B, 4) int64 top, left, height, width in pixels.
        mirrored: (B,) bool, left and right exchanged.
    """

    boxes: np.ndarray
    mirrored: np.ndarray


def draw_crops(count: int, side: int, smallest: float, flip: bool, generator: np.random.Generator) -> Crops:
    """Crops of `count` images of `side` x `side` pixels, drawn as torchvision's RandomResizedCrop draws them.

    Args:
        smallest: least area of a crop as a share of the image; 1 cuts nothing.
        flip: also mirror half of the images; captions that name left and right become untrue.
    """
    whole = torch.empty(3, side, side, device="meta")
    boxes = np.tile([0, 0, side, side], (count, 1))
    # torchvision draws from torch's global stream
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**31)))
        if smallest < 1:
            draw = torchvision.transforms.RandomResizedCrop.get_params
            boxes = np.array([draw(whole, (smallest, 1.0), RATIO) for _ in range(count)])
    mirrored = generator.random(count) < 0.5 if flip else np.zeros(count, bool)
    return Crops(boxes, mirrored)


def cut(images: Tensor, crops: Crops, size: int, interpolation: str) -> Tensor:
    """Cut out and resize (antialiased) each of (B, 3, S, S) images: (B, 3, size, size) in [0, 1]."""
    functional = torchvision.transforms.v2.functional
    mode = torchvision.transforms.InterpolationMode(interpolation)
    parts = [
        functional.resized_crop(image, *map(int, box), [size, size], mode, antialias=True)
        for image, box in zip(images, crops.boxes, strict=True)
    ]
    mirrored = torch.from_numpy(crops.mirrored).to(images.device).view(-1, 1, 1, 1)
    batch = torch.stack(parts).clamp(0, 1)  # cubic filters overshoot
    return torch.where(mirrored, batch.flip(-1), batch)
