"""The reasoning head: which keyword stood at a masked position, judging by image and rest of the caption.

method: KER 3; after the interaction encoder of IRRA (Jiang and Ye, CVPR 2023).
"""

from collections import OrderedDict
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iebaker.model.compat import open_clip

LayerNorm, QuickGELU = open_clip.transformer.LayerNorm, open_clip.transformer.QuickGELU


class KeywordHead(nn.Module):
    """Masked words attend to the image's patches, then to each other; masked positions are classified.

    There is no residual around the cross-attention, as published.
    """

    def __init__(self, width: int, vocabulary_size: int, layers: int = 2, heads: int | None = None) -> None:
        """Build the head with random weights.

        Args:
            width: d, the joint space's dimension.
            vocabulary_size: V, number of labels.
            layers: self-attention blocks after the cross-attention.
            heads: attention heads; one for every 64 of `width` unless given.
        """
        super().__init__()
        self.heads = heads = heads or max(width // 64, 1)
        self.ln_pre_t = LayerNorm(width)
        self.ln_pre_i = LayerNorm(width)
        self.cross_attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.cross_modal_transformer = open_clip.transformer.Transformer(width, layers, heads, act_layer=QuickGELU)
        self.ln_post = LayerNorm(width)
        self.mlm_head = nn.Sequential(
            OrderedDict(
                dense=nn.Linear(width, width),
                gelu=QuickGELU(),
                ln=LayerNorm(width),
                fc=nn.Linear(width, vocabulary_size),
            )
        )
        self._initialise(width, layers)

    def fuse(self, masked_text_tokens: Tensor, image_tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        """Text tokens (B, L, d) informed by image tokens (B, P, d) and each other: (B, L, d).

        Args:
            padding: (B, L) bool, True at tokens that nothing attends to; None attends to all, as published, and then
                the result depends on how many columns of padding there are.
        """
        image = self.ln_pre_i(image_tokens)
        seen = self.cross_attn(self.ln_pre_t(masked_text_tokens), image, image, need_weights=False)[0]
        mask = None
        if padding is not None:
            hidden = torch.zeros(padding.shape, device=padding.device).masked_fill(padding, float("-inf"))
            mask = hidden.repeat_interleave(self.heads, dim=0)[:, None, :].expand(-1, seen.shape[1], -1)
        informed: Tensor = self.ln_post(self.cross_modal_transformer(seen, attn_mask=mask))
        return informed

    def forward(
        self,
        masked_text_tokens: Tensor,
        image_tokens: Tensor,
        masked: Tensor,
        padding: Tensor | None = None,
        image_of: Tensor | None = None,
    ) -> Tensor:
        """Scores of the vocabulary at masked positions, as from `fuse`, without what they do not depend on.

        Padding is left out, the last block computes masked positions alone, and an image that several captions share
        is projected once.

        Args:
            masked_text_tokens: (B, L, d), the masked captions' projected tokens.
            image_tokens: (B, P, d), their images' projected patches, or (I, P, d) with `image_of`.
            masked: (B, L) bool, True at masked positions.
            padding: as for `fuse`.
            image_of: (B,) int64, which of I images belongs to each caption; None: its own.

        Returns:
            (n, V), the n masked positions in row-major order; n may be 0.
        """
        seen = None if padding is None else ~padding
        at = torch.ones_like(masked) if seen is None else seen | masked
        images = _keys_and_values(self.cross_attn, self.ln_pre_i(image_tokens))
        images = images if image_of is None else images.index_select(0, image_of)
        words = Words(_attend(self.cross_attn, Words(self.ln_pre_t(masked_text_tokens[at]), at), images), at)
        blocks = list(self.cross_modal_transformer.resblocks)
        for block in blocks[:-1]:
            words = Words(_block(block, words, words, seen), at)
        wanted = words.values[masked[at]]
        for block in blocks[-1:]:
            wanted = _block(block, Words(wanted, _leftmost(masked)), words, seen)
        scores: Tensor = self.mlm_head(self.ln_post(wanted))
        return scores

    def _initialise(self, width: int, layers: int) -> None:
        """CLIP's initialisation of its text transformer (Radford et al., 2021)."""
        attention, residual = width**-0.5, width**-0.5 * (2 * max(layers, 1)) ** -0.5
        hidden = (2 * width) ** -0.5
        blocks = self.cross_modal_transformer.resblocks
        for module in (self.cross_attn, *(block.attn for block in blocks)):
            nn.init.normal_(module.in_proj_weight, std=attention)
            nn.init.normal_(module.out_proj.weight, std=residual)
        for block in blocks:
            nn.init.normal_(block.mlp.c_fc.weight, std=hidden)
            nn.init.normal_(block.mlp.c_proj.weight, std=residual)
        nn.init.normal_(self.mlm_head.get_parameter("dense.weight"), std=hidden)
        nn.init.normal_(self.mlm_head.get_parameter("fc.weight"), std=residual)


class Words(NamedTuple):
    """Words of B captions, without padding between them.

    Attributes:
        values: (n, d), caption by caption.
        at: (B, L) bool, True at the n places where they stand.
    """

    values: Tensor
    at: Tensor

    def spread(self) -> Tensor:
        """(B, L, d), 0 where no word stands."""
        whole = self.values.new_zeros(*self.at.shape, self.values.shape[1])
        whole[self.at] = self.values
        return whole


def _block(block: Any, queries: Words, words: Words, seen: Tensor | None) -> Tensor:
    """(n, d): the queries after a block of open_clip's Transformer, in which they attend to the words `seen`."""
    memory = Words(_keys_and_values(block.attn, block.ln_1(words.values)), words.at).spread()
    normed = queries._replace(values=block.ln_1(queries.values))
    values = queries.values + block.ls_1(_attend(block.attn, normed, memory, seen))
    informed: Tensor = values + block.ls_2(block.mlp(block.ln_2(values)))
    return informed


def _attend(attention: nn.MultiheadAttention, queries: Words, memory: Tensor, seen: Tensor | None = None) -> Tensor:
    """(n, d): each query over its caption's keys and values (B, M, 2d), of which (B, M) bool are `seen`; None: all."""
    width = attention.embed_dim
    projected = F.linear(queries.values, attention.in_proj_weight[:width], attention.in_proj_bias[:width])
    parts = (Words(projected, queries.at).spread(), *memory.chunk(2, dim=-1))
    query, key, value = (part.reshape(*part.shape[:2], attention.num_heads, -1).transpose(1, 2) for part in parts)
    mask = None if seen is None else seen[:, None, None, :]
    attended = F.scaled_dot_product_attention(query, key, value, mask).transpose(1, 2)[queries.at].flatten(1)
    found: Tensor = attention.out_proj(attended)
    return found


def _keys_and_values(attention: nn.MultiheadAttention, tokens: Tensor) -> Tensor:
    """(..., 2d) of tokens (..., d)."""
    width = attention.embed_dim
    return F.linear(tokens, attention.in_proj_weight[width:], attention.in_proj_bias[width:])


def _leftmost(at: Tensor) -> Tensor:
    """(B, M) bool with as many words in each row as (B, L), without gaps; M is that of the longest, at least 1."""
    counts = at.sum(1, keepdim=True)
    return torch.arange(max(int(counts.max()), 1), device=at.device) < counts
