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
        tokens = F.normalize(tokens.float(), dim=-1)
        if padding is not None:
            tokens = tokens.masked_fill(padding.unsqueeze(-1), 0.0)
        tokens = tokens.to(getattr(torch, precision))
        return (tokens.mT @ tokens).flatten(1)


def upper_triangle(gram: Tensor) -> Tensor:
    """(N, d^2) symmetric matrices as (N, d (d + 1) / 2) with the same inner products: off-diagonals times sqrt(2).

    Half the memory and half the work of `local_from_grams`, at the price of a copy: worth it for many pairs.
    """
    width = int(gram.shape[1] ** 0.5)
    rows, columns = torch.triu_indices(width, width, device=gram.device)
    weights = torch.where(rows == columns, 1.0, 2.0**0.5).to(gram.dtype)
    return gram.index_select(1, rows * width + columns).mul_(weights)


def local_from_grams(text_gram: Tensor, image_gram: Tensor) -> Tensor:
    """Local similarities L of all pairs, from the Gram matrices of each side.

    Args:
        text_gram: (N_text, D) of `gram`, or of `upper_triangle`.
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
    block: int = 256,
) -> None:
    """Fill `out` with the local similarities of a whole split, block by block.

    Memory stays at a few times `block` x d^2 values, whatever the split's size.

    Args:
        out: (N_text, N_image) array or memory map to write into.
        text_tokens: (N_text, L, d) array or memory map.
        image_tokens: (N_image, P, d) array or memory map.
        text_padding: (N_text, L) bool, True at padding; None counts every position.
        precision: of the products.
        block: texts and images at a time.
    """

    def block_gram(tokens: np.ndarray, rows: slice, padding: np.ndarray | None = None) -> Tensor:
        padding = None if padding is None else torch.tensor(padding[rows])
        return upper_triangle(gram(torch.tensor(tokens[rows]), padding, precision))

    with torch.inference_mode():
        for column in range(0, len(image_tokens), block):
            columns = slice(column, column + block)
            image_gram = block_gram(image_tokens, columns)
            for row in range(0, len(text_tokens), block):
                rows = slice(row, row + block)
                out[rows, columns] = local_from_grams(block_gram(text_tokens, rows, text_padding), image_gram).numpy()
