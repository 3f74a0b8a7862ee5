"""The reasoning head: which keyword stood at a masked position, judging by image and rest of the caption.

method: KER 3; after the interaction encoder of IRRA (Jiang and Ye, CVPR 2023).
"""

from collections import OrderedDict

import torch
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
        patches = self.ln_pre_i(image_tokens)
        fused, _ = self.cross_attn(self.ln_pre_t(masked_text_tokens), patches, patches, need_weights=False)
        informed: Tensor = self.ln_post(self.cross_modal_transformer(fused, attn_mask=self._attention_mask(padding)))
        return informed

    def forward(
        self, masked_text_tokens: Tensor, image_tokens: Tensor, masked: Tensor, padding: Tensor | None = None
    ) -> Tensor:
        """Scores of the vocabulary at masked positions only.

        Args:
            masked_text_tokens: (B, L, d), the masked captions' projected tokens.
            image_tokens: (B, P, d), their images' projected patches.
            masked: (B, L) bool, True at masked positions.
            padding: as for `fuse`.

        Returns:
            (n, V), the n masked positions in row-major order; n may be 0.
        """
        scores: Tensor = self.mlm_head(self.fuse(masked_text_tokens, image_tokens, padding)[masked])
        return scores

    def _attention_mask(self, padding: Tensor | None) -> Tensor | None:
        """(B * heads, L, L), added to the attention's logits: minus infinity in the columns of padding."""
        if padding is None:
            return None
        columns = torch.zeros(padding.shape, device=padding.device).masked_fill(padding, float("-inf"))
        per_head = columns.repeat_interleave(self.heads, dim=0)
        return per_head[:, None, :].expand(-1, padding.shape[1], -1)

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
