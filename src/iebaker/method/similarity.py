"""Similarities of captions and images, global and local (method: Similarity); fusion.py adds them up.

The local similarity is the Frobenius norm of the token-by-token cosine matrix. It needs no such matrix:
||T V^T||_F^2 = <T^T T, V^T V>_F, so each side is reduced to one d x d Gram matrix, and all pairs are one product.
"""

from functools import lru_cache
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Precision = Literal["float32", "bfloat16"]
STRIPS = 8  # of rows that Gram matrices are cut into: more save less than their smaller products cost
KEPT = 300_000_000  # bytes of images' strips at a time


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
        (N, d^2); float32 holds the values of bfloat16 where products of bfloat16 would be slower.
    """
    with torch.autocast(tokens.device.type, enabled=False):
        tokens = _rounded(_normalised(tokens, padding), precision)
        return _rounded(tokens.mT @ tokens, precision).flatten(1)


def local_from_grams(text_gram: Tensor, image_gram: Tensor) -> Tensor:
    """Local similarities L of all pairs, from the Gram matrices of each side.

    Args:
        text_gram: (N_text, d^2) of `gram`.
        image_gram: (N_image, d^2) of `gram`, in the same precision.

    Returns:
        (N_text, N_image) float32, not scaled. The gradient of a pair without any token is 0, not NaN. From products
        of bfloat16 the values have some three significant digits, so near neighbours become ties.
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
    """Fill `out` with the local similarities of a whole split.

    The sum over the entries of Gram matrices is taken a strip of their rows at a time, and every entry is computed
    once. Of the images as many strips are kept as KEPT allows; the texts stream past them, a block at a time.

    Args:
        out: (N_text, N_image) float32 array or memory map to write into.
        text_tokens: (N_text, L, d) array or memory map.
        image_tokens: (N_image, P, d) array or memory map.
        text_padding: (N_text, L) bool, True at padding; None counts every position.
        precision: of the products.
        block: texts or images at a time.
    """
    squared = torch.from_numpy(out).zero_()
    with torch.inference_mode():
        for strips in _together(image_tokens.shape[2], len(image_tokens), precision):
            of_images = _image_strips(image_tokens, strips, precision, block)
            for start in range(0, len(text_tokens), block):
                rows = slice(start, start + block)
                tokens, padding = _trimmed(text_tokens[rows], None if text_padding is None else text_padding[rows])
                tokens = _rounded(_normalised(tokens, padding), precision)
                for number, strip in enumerate(strips):  # a name for the images' strip would keep the last one
                    squared[rows] += _gram_strip(tokens, strip, precision) @ of_images[number].T
            del of_images  # before the next ones are made
        squared.clamp_(min=0).sqrt_()  # rounding can fall below 0


def _together(width: int, images: int, precision: Precision) -> list[list[slice]]:
    """Strips of Gram matrices' rows, in lists of those whose entries of all images are within KEPT; one at least."""
    size = images * _rounded(torch.empty(0), precision).element_size()
    lists, free = list[list[slice]](), 0
    for rows in np.array_split(np.arange(width), min(STRIPS, width)):
        strip = slice(int(rows[0]), int(rows[-1]) + 1)
        needed = size * len(rows) * (width - strip.start)
        if needed > free:
            lists.append([])
            free = KEPT
        lists[-1].append(strip)
        free -= needed
    return lists


def _image_strips(tokens: np.ndarray, strips: list[slice], precision: Precision, block: int) -> list[Tensor]:
    """Mirrored `_gram_strip` of all images for each strip, in one piece of memory each."""
    found = list[Tensor]()
    for start in range(0, len(tokens), block):
        part = _rounded(_normalised(torch.tensor(tokens[start : start + block]), None), precision)
        for number, strip in enumerate(strips):
            values = _gram_strip(part, strip, precision, mirrored=True)
            if not start:
                found.append(values.new_empty(len(tokens), values.shape[1]))
            found[number][start : start + block] = values
    return found


def _gram_strip(tokens: Tensor, strip: slice, precision: Precision, mirrored: bool = False) -> Tensor:
    """(N, D) rows `strip` of the Gram matrices, from the diagonal block on; `mirrored` counts what it leaves out too.

    Products of a mirrored strip with one that is not are those of both triangles. `tokens` are normalised and rounded.
    """
    strips = tokens[:, :, strip].mT @ tokens[:, :, strip.start :]
    if mirrored:
        strips[:, :, strip.stop - strip.start :] *= 2
    return _rounded(strips, precision).flatten(1)


def _trimmed(tokens: np.ndarray, padding: np.ndarray | None) -> tuple[Tensor, Tensor | None]:
    """Without the positions at the end that are padding in every text."""
    if padding is None:
        return torch.tensor(tokens), None
    used = np.flatnonzero(~padding.all(axis=0))
    longest = used[-1] + 1 if len(used) else 1
    return torch.tensor(tokens[:, :longest]), torch.tensor(padding[:, :longest])


def _rounded(values: Tensor, precision: Precision) -> Tensor:
    """Values of `precision`, in the type that this device multiplies fast.

    A processor without instructions for bfloat16 multiplies it some ten times slower than float32.
    """
    values = values.to(getattr(torch, precision))
    return values.float() if values.device.type == "cpu" and not _cpu_multiplies_bfloat16() else values


@lru_cache(maxsize=1)
def _cpu_multiplies_bfloat16() -> bool:
    return bool(torch._C._has_mkldnn and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _normalised(tokens: Tensor, padding: Tensor | None) -> Tensor:
    """Float32 tokens of length 1, and of length 0 at padding."""
    tokens = F.normalize(tokens.float(), dim=-1)
    return tokens if padding is None else tokens.masked_fill(padding.unsqueeze(-1), 0.0)
