"""The published formulations, written down from their description (docs/method.md), without any thought of cost."""

import torch
import torch.nn.functional as F
from torch import Tensor

from iebaker.method.keyword_head import KeywordHead
from iebaker.model.towers import RetrievalModel


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


def step_loss(
    model: RetrievalModel,
    head: KeywordHead,
    images: Tensor,
    texts: Tensor,
    masked: Tensor,
    labels: Tensor,
    scale: float,
) -> Tensor:
    """The whole objective of one batch: 77 tokens of every caption, scores of the whole vocabulary for each of them.

    Args:
        model: reads tokens, and trims nothing.
        head: of a class for each token id.
        images: (B, 3, S, S).
        texts: (B, L) token ids.
        masked: (B, L) token ids with the mask token at keywords.
        labels: (B, L) token id behind each mask, 0 elsewhere.
        scale: s.
    """
    image, text = model.image(images), model.text(texts)
    own = torch.arange(len(images), device=images.device)
    cosines = scale * F.normalize(text.pooled, dim=-1) @ F.normalize(image.pooled, dim=-1).T
    local = scale * local_similarity(text.tokens, image.tokens)
    scores = head.mlm_head(head.fuse(model.text(masked).tokens, image.tokens))
    losses = [F.cross_entropy(matrix, own) for matrix in (cosines, cosines.T, local, local.T)]
    losses.append(0.5 * F.cross_entropy(scores.flatten(0, 1), labels.flatten(), ignore_index=0))
    return torch.stack(losses).sum()
