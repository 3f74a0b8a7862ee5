"""From stored pixels to what an image tower reads."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from iebaker.model.augment import cut


@dataclass(frozen=True)
class Preprocess:
    """What an image tower was trained with.

    Attributes:
        size: side in pixels of the square input.
        mean: of each RGB channel, pixels in [0, 1].
        std: of each RGB channel, pixels in [0, 1].
        interpolation: "bicubic" or "bilinear".
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"

    def __call__(self, pixels: Tensor, crops: np.ndarray | None = None) -> Tensor:
        """Stored squares (B, S, S, 3) uint8 RGB to (B, 3, size, size) normalised float32.

        Args:
            crops: (B, 4) what is cut out of each, as `draw_crops` gives it; None takes the whole.
        """
        images = pixels.permute(0, 3, 1, 2).float() / 255
        if crops is not None:
            images = cut(images, crops, self.size, self.interpolation)
        elif images.shape[-1] != self.size:
            side = (self.size, self.size)
            # cubic filters overshoot
            images = F.interpolate(images, side, mode=self.interpolation, antialias=True).clamp(0, 1)
        mean, std = (torch.tensor(values, device=images.device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return (images - mean) / std
