"""The reasoning head: which keyword stood at a masked position, judging by image and rest of the caption.

method: KER 3; after the interaction encoder of IRRA (Jiang and Ye, CVPR 2023).
"""

from collections import OrderedDict

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
        seen = self._attend_to_image(masked_text_tokens, image_tokens, None)
        informed: Tensor = self.ln_post(
            self.cross_modal_transformer(seen, attn_mask=self._mask(padding, seen.shape[1]))
        )
        return informed

    def forward(
        self,
        masked_text_tokens: Tensor,
        image_tokens: Tensor,
        masked: Tensor,
        padding: Tensor | None = None,
        image_of: Tensor | None = None,
    ) -> Tensor:
        """Scores of the vocabulary at masked positions, as from `fuse`; the last block computes nothing else.

        Args:
            masked_text_tokens: (B, L, d), the masked captions' projected tokens.
            image_tokens: (B, P, d), their images' projected patches, or (I, P, d) with `image_of`.
            masked: (B, L) bool, True at masked positions.
            padding: as for `fuse`.
            image_of: (B,) int64, which of I images belongs to each caption; None: its own.

        Returns:
            (n, V), the n masked positions in row-major order; n may be 0.
        """
        tokens = self._attend_to_image(masked_text_tokens, image_tokens, image_of)
        counts = masked.sum(1)
        columns = torch.argsort(masked.int(), dim=1, descending=True, stable=True)[:, : max(int(counts.max()), 1)]
        blocks = list(self.cross_modal_transformer.resblocks)
        for block in blocks[:-1]:
            tokens = block(tokens, attn_mask=self._mask(padding, tokens.shape[1]))
        wanted = tokens.gather(1, columns[..., None].expand(-1, -1, tokens.shape[2]))
        for block in blocks[-1:]:
            normed = block.ln_1(tokens)
            mask = self._mask(padding, columns.shape[1])
            wanted = wanted + block.ls_1(block.attention(block.ln_1(wanted), normed, normed, attn_mask=mask))
            wanted = wanted + block.ls_2(block.mlp(block.ln_2(wanted)))
        there = torch.arange(columns.shape[1], device=masked.device) < counts[:, None]
        scores: Tensor = self.mlm_head(self.ln_post(wanted[there]))
        return scores

    def _attend_to_image(self, text_tokens: Tensor, image_tokens: Tensor, image_of: Tensor | None) -> Tensor:
        """`cross_attn` of (B, L, d) tokens to their images, whose keys and values are computed once an image."""
        attention = self.cross_attn
        width = attention.embed_dim
        query_weight, image_weight = torch.split(attention.in_proj_weight, [width, 2 * width])
        query_bias, image_bias = torch.split(attention.in_proj_bias, [width, 2 * width])
        queries = F.linear(self.ln_pre_t(text_tokens), query_weight, query_bias)
        projected = F.linear(self.ln_pre_i(image_tokens), image_weight, image_bias)
        if image_of is not None:
            projected = projected.index_select(0, image_of)
        parts = (queries, *projected.chunk(2, dim=-1))
        query, key, value = (part.reshape(*part.shape[:2], self.heads, -1).transpose(1, 2) for part in parts)
        seen: Tensor = attention.out_proj(F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2))
        return seen

    def _mask(self, padding: Tensor | None, queries: int) -> Tensor | None:
        """(B * heads, queries, L), added to the attention's logits: minus infinity in the columns of padding."""
        if padding is None:
            return None
        columns = torch.zeros(padding.shape, device=padding.device).masked_fill(padding, float("-inf"))
        return columns.repeat_interleave(self.heads, dim=0)[:, None, :].expand(-1, queries, -1)

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
