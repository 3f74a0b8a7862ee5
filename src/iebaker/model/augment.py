"""Random crops of training images, by the library's geometry."""

import numpy as np
import torch
from torch import Tensor

from iebaker.model.compat import torchvision

RATIO = (3 / 4, 4 / 3)  # of width to height


def draw_crops(count: int, side: int, smallest: float, generator: np.random.Generator) -> np.ndarray:
    """Crops of `count` images of `side` x `side` pixels, drawn as torchvision's RandomResizedCrop draws them.

    Args:
        smallest: least area of a crop as a share of the image.

    Returns:
        (count, 4) int64 top, left, height, width in pixels.
    """
    whole = torch.empty(3, side, side, device="meta")
    # torchvision draws from torch's global stream
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(generator.integers(2**31)))
        draw = torchvision.transforms.RandomResizedCrop.get_params
        return np.array([draw(whole, (smallest, 1.0), RATIO) for _ in range(count)])


def cut(images: Tensor, crops: np.ndarray, size: int, interpolation: str) -> Tensor:
    """Cut these crops out of (B, 3, S, S) images and resize them (antialiased): (B, 3, size, size) in [0, 1]."""
    functional = torchvision.transforms.v2.functional
    mode = torchvision.transforms.InterpolationMode(interpolation)
    parts = [
        functional.resized_crop(image, *map(int, box), [size, size], mode, antialias=True)
        for image, box in zip(images, crops, strict=True)
    ]
    return torch.stack(parts).clamp(0, 1)  # cubic filters overshoot
