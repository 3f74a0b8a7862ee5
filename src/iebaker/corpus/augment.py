"""Augmentation of training images."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

RATIO = (3 / 4, 4 / 3)


def random_crops(images: Tensor, smallest: float, flip: bool, generator: np.random.Generator) -> Tensor:
    """A random crop of each image, resized back to its size: the whole batch in one bilinear sampling.

    Args:
        images: (B, 3, S, S).
        smallest: least area of a crop as a share of the image; aspect ratios are log-uniform in 3/4 ... 4/3.
        flip: also mirror half of the images; captions that name left and right become untrue.
    """
    count = len(images)
    area = generator.uniform(smallest, 1, count)
    aspect = np.exp(generator.uniform(math.log(RATIO[0]), math.log(RATIO[1]), count))
    width, height = np.minimum(np.sqrt(area * aspect), 1), np.minimum(np.sqrt(area / aspect), 1)
    left, top = generator.uniform(-1, 1, count) * (1 - width), generator.uniform(-1, 1, count) * (1 - height)
    if flip:
        width = np.where(generator.random(count) < 0.5, -width, width)
    affine = np.zeros((count, 2, 3), np.float32)
    affine[:, 0, 0], affine[:, 1, 1], affine[:, 0, 2], affine[:, 1, 2] = width, height, left, top
    grid = F.affine_grid(torch.from_numpy(affine).to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
