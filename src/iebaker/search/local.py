"""Local similarity of one query (method: Similarity).

It stands here and not beside the matrices of `method.similarity`, on which trainings depend.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def local_of_query(text_tokens: Tensor, image_tokens: Tensor) -> Tensor:
    """Local similarities of one text and several images, from the token cosines themselves.

    For one text this is less work than Gram matrices, which pay off when each is used for many pairs.

    Args:
        text_tokens: (L, d) token features that count, not normalised.
        image_tokens: (N_image, P, d) patch features, not normalised.

    Returns:
        (N_image,) float32, not scaled.
    """
    text, images = F.normalize(text_tokens.float(), dim=-1), F.normalize(image_tokens.float(), dim=-1)
    norms: Tensor = torch.linalg.matrix_norm(text @ images.mT)
    return norms
