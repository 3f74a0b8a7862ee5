"""The published formulations, written down from their description (docs/method.md), without any thought of cost."""

import torch
import torch.nn.functional as F
from torch import Tensor


def local_similarity(text_tokens: Tensor, image_tokens: Tensor) -> Tensor:
    """||T V^T||_F of all pairs, from all cosines of their tokens.

    Args:
        text_tokens: (N_text, L, d), padding included.
        image_tokens: (N_image, P, d).

    Returns:
        (N_text, N_image).
    """
    text, image = F.normalize(text_tokens, dim=-1), F.normalize(image_tokens, dim=-1)
    norms: Tensor = torch.einsum("ild,jpd->ijlp", text, image).flatten(2).norm(dim=-1)
    return norms
