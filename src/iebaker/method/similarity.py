"""Similarities of captions and images, global and local (method: Similarity); fusion.py adds them up.

The local similarity is the Frobenius norm of the token-by-token cosine matrix. It needs no such matrix:
||T V^T||_F^2 = <T^T T, V^T V>_F, so each side is reduced to one d x d Gram matrix, and all pairs are one product.
"""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "bfloat16"]
PARTS = 4  # that d is split into for `packed_gram`; more parts save less than their smaller products cost
GRAM_BYTES = 2**30


def global_similarity(text: Tensor, image: Tensor) -> Tensor:
    """Cosine similarities S of pooled features.

    Args:
        text: (N_text, d) pooled text features, not normalised.
        image: (N_image, d) pooled image features, not normalised.

    Returns:
        (N_text, N_image) float32, in [-1, 1].
    """
    with torch.autocast(text.device.type, enabled=False):
        return F.normalize(text.float(), dim=-1) @ F.normalize(image.float(), dim=-1).T


def gram(tokens: Tensor, padding: Tensor | None = None, precision: Precision = "float32") -> Tensor:
    """Gram matrices over d of normalised tokens: the half of the local similarity that one side needs.

    Args:
        tokens: (N, L, d) token features, not normalised.
        padding: (N, L) bool, True at positions that do not count; None counts all.
        precision: "bfloat16" rounds the normalised tokens and the result; sums are in float32.

    Returns:
        (N, d^2) in that precision.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = _normalised(tokens, padding).to(getattr(torch, precision))
        return (tokens.mT @ tokens).flatten(1)


def packed_gram(tokens: Tensor, padding: Tensor | None = None, precision: Precision = "float32") -> Tensor:
    """As `gram`, without what the symmetry repeats: the blocks on and above the diagonal, of PARTS x PARTS.

    Blocks above the diagonal are multiplied by sqrt(2), so that inner products are those of the whole matrices. At
    d = 512 that is 5/8 of the values, and no gathering of single ones.

    Returns:
        (N, D), D about d^2 (PARTS + 1) / (2 PARTS).
    """
    with torch.autocast(tokens.device.type, enabled=False):
        parts = _normalised(tokens, padding).to(getattr(torch, precision)).tensor_split(PARTS, dim=2)
        blocks = []
        for row, left in enumerate(parts):
            blocks.append(left.mT @ left)
            blocks += [(2**0.5 * left).mT @ right for right in parts[row + 1 :]]
        return torch.cat([block.flatten(1) for block in blocks], dim=1)


def local_from_grams(text_gram: Tensor, image_gram: Tensor) -> Tensor:
    """Local similarities L of all pairs, from the Gram matrices of each side.

    Args:
        text_gram: (N_text, D) of `gram`, or of `packed_gram`.
        image_gram: (N_image, D) of the same function, in the same precision.

    Returns:
        (N_text, N_image) float32, not scaled. The gradient of a pair without any token is 0, not NaN. In bfloat16
        the values have some three significant digits, so near neighbours become ties.
    """
    with torch.autocast(text_gram.device.type, enabled=False):
        squared = (text_gram @ image_gram.T).float()
    # the square root has no gradient at 0: those pairs take a constant's, and rounding can fall below 0
    positive = squared > 0
    return torch.where(positive, squared, 1.0).sqrt() * positive


def local_similarity(
    text_tokens: Tensor,
    image_tokens: Tensor,
    text_padding: Tensor | None = None,
    precision: Precision = "float32",
) -> Tensor:
    """Local similarities L: the Frobenius norm of the token-by-token cosines of each pair, differentiable.

    Args:
        text_tokens: (N_text, L, d) token features, not normalised.
        image_tokens: (N_image, P, d) patch features, not normalised.
        text_padding: (N_text, L) bool, True at padding; None counts every position, as published.
        precision: of the products; the result is float32 either way.

    Returns:
        (N_text, N_image) float32, not scaled: training multiplies it by s, evaluation takes it as it is.
    """
    return local_from_grams(gram(text_tokens, text_padding, precision), gram(image_tokens, precision=precision))


def write_local_similarity(
    out: np.ndarray,
    text_tokens: np.ndarray,
    image_tokens: np.ndarray,
    text_padding: np.ndarray | None = None,
    precision: Precision = "float32",
    budget: int = GRAM_BYTES,
    block: int = 256,
) -> None:
    """Fill `out` with the local similarities of a whole split.

    The Gram matrices of as many images as the budget holds are kept, and the texts stream past them, a block at a time.

    Args:
        out: (N_text, N_image) array or memory map to write into.
        text_tokens: (N_text, L, d) array or memory map.
        image_tokens: (N_image, P, d) array or memory map.
        text_padding: (N_text, L) bool, True at padding; None counts every position.
        precision: of the products.
        budget: bytes of image Gram matrices.
        block: texts at a time.
    """
    with torch.inference_mode():
        size = packed_gram(torch.zeros(1, 1, image_tokens.shape[2]), precision=precision).nbytes
        images = max(1, budget // size)
        for first in range(0, len(image_tokens), images):
            columns = slice(first, first + images)
            image_gram = _packed_grams(image_tokens[columns], precision, block)
            for start in range(0, len(text_tokens), block):
                rows = slice(start, start + block)
                tokens, padding = torch.tensor(text_tokens[rows]), None
                if text_padding is not None:
                    padding = torch.tensor(text_padding[rows])
                    used = (~padding).any(dim=0).nonzero()
                    longest = int(used.max()) + 1 if len(used) else 1  # what follows is padding in every text
                    tokens, padding = tokens[:, :longest], padding[:, :longest]
                text_gram = packed_gram(tokens, padding, precision)
                out[rows, columns] = local_from_grams(text_gram, image_gram).numpy()


def _packed_grams(tokens: np.ndarray, precision: Precision, block: int) -> Tensor:
    """`packed_gram` of many items, a block at a time, in one piece of memory."""
    grams = torch.empty(0)
    for start in range(0, len(tokens), block):
        part = packed_gram(torch.tensor(tokens[start : start + block]), precision=precision)
        if not len(grams):
            grams = part.new_empty(len(tokens), part.shape[1])
        grams[start : start + block] = part
    return grams


def _normalised(tokens: Tensor, padding: Tensor | None) -> Tensor:
    """Float32 tokens of length 1, and of length 0 at padding."""
    tokens = F.normalize(tokens.float(), dim=-1)
    return tokens if padding is None else tokens.masked_fill(padding.unsqueeze(-1), 0.0)
