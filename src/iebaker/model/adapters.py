"""One small adapter a tower family of open_clip: the only place that knows a tower's insides.

An adapter splits its tower into a trunk and a head, the projection into the joint space. The pooled vector is the
tower's own; the tokens take the same way through norm and projection, position by position. Adapters are no
modules: weights stay under open_clip's names.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, TypeVar

from torch import Tensor, nn

from iebaker.errors import IebakerError
from iebaker.model.compat import open_clip

Foreign = Any  # a module of open_clip or timm: to nn.Module, every attribute is a Tensor | Module


class Trunk(NamedTuple):
    """Features of a tower before its projection; what can be cached while the trunk is locked.

    Attributes:
        pooled: (B, width).
        tokens: (B, L, width): patches, or words with start and end token.
        padding: (B, L) bool, True at padding; all False for images.
    """

    pooled: Tensor
    tokens: Tensor
    padding: Tensor


class Adapter(Protocol):
    """What every family provides; `inputs` are images (B, 3, H, W) or token ids (B, L)."""

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (B, width) and tokens (B, L, width) before the projection."""

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (B, d) and tokens (B, L, d) in the joint space, not normalised."""

    def trunk_module(self) -> nn.Module:
        """What is put into eval mode while the trunk is locked (batch norm, dropout)."""

    def head_parameters(self) -> Iterator[nn.Parameter]:
        """The parameters that still train while the trunk is locked."""


class TextAdapter(Adapter, Protocol):
    """An adapter of captions.

    Attributes:
        ignores_padding: whether tokens and pooled vector are the same with and without padding behind them.
    """

    ignores_padding: bool


class TokensMissing(IebakerError):
    """A tower whose tokens have no place in the joint space: only its pooled vector can be compared."""


class VisionTransformer:
    """ViT of CLIP: tokens are the patches without the class token (with CoCa: the pooling queries)."""

    def __init__(self, visual: Foreign) -> None:
        if visual.attn_pool is not None and visual.attn_pool_contrastive is not None:
            raise TokensMissing(f"attentional_pool={visual.attn_pool_type!r} has no joint projection")
        if visual.pool_type == "none":
            raise IebakerError("vision_cfg.pool_type 'none' gives no pooled vector; use 'tok' or 'avg'")
        self.visual = visual

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.visual.transformer(self.visual._embeds(inputs))
        pooled, tokens = self.visual._pool(features)
        if self.visual.final_ln_after_pool and self.visual.attn_pool is None:
            tokens = self.visual.ln_post(tokens)
        return pooled, tokens

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return pooled @ self.visual.proj, tokens @ self.visual.proj

    def trunk_module(self) -> Foreign:
        return self.visual

    def head_parameters(self) -> Iterator[nn.Parameter]:
        yield self.visual.proj


class ResNet:
    """CLIP's ResNet: the attention pool is the head.

    Its pooled vector is, head by head, a weighted mean of the positions' values; a token is its position's value,
    projected the same way (as in MaskCLIP, Zhou et al., ECCV 2022).
    """

    pools_in_head = True

    def __init__(self, visual: Foreign) -> None:
        self.visual = visual

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        visual = self.visual
        features = visual.stem(inputs)
        for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            features = layer(features)
        tokens = features.flatten(2).transpose(1, 2)
        return tokens.mean(dim=1), tokens

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        pool = self.visual.attnpool
        batch, positions, width = tokens.shape
        # the pool takes a map, and its mean itself
        attended = pool(tokens.transpose(1, 2).reshape(batch, width, 1, positions))
        placed = tokens + pool.positional_embedding[1:].to(tokens.dtype)
        return attended, pool.c_proj(pool.v_proj(placed))

    def trunk_module(self) -> Foreign:
        return self.visual

    def head_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.visual.attnpool.parameters()


class Timm:
    """Any timm model: tokens are its feature map's positions, each through timm's head as if it were the whole map.

    So norms behind the pooling, hidden layers and attention pools need no case of their own.
    """

    def __init__(self, visual: Foreign) -> None:
        self.visual = visual
        self.model = visual.trunk
        self.prefix = getattr(self.model, "num_prefix_tokens", 0)
        self.channels_last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
        if hasattr(visual.head, "pool"):
            raise TokensMissing("timm_pool 'abs_attn' and 'rot_attn' give no projected tokens")

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        features = self.model.forward_features(inputs)
        pooled = self.model.forward_head(features, pre_logits=True)
        if features.ndim == 3:
            positions = features[:, self.prefix :]
        elif self.channels_last:
            positions = features.flatten(1, 2)
        else:
            positions = features.flatten(2).transpose(1, 2)
        batch, count, width = positions.shape
        single = positions.reshape(batch * count, 1, width)
        if features.ndim == 3:
            single = single.expand(-1, self.prefix + 1, -1)
        elif self.channels_last:
            single = single[:, None]
        else:
            single = single.reshape(batch * count, width, 1, 1)
        tokens = self.model.forward_head(single, pre_logits=True)
        return pooled, tokens.reshape(batch, count, -1)

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        classifier, projection = self.model.get_classifier(), self.visual.head
        return projection(classifier(pooled)), projection(classifier(tokens))

    def trunk_module(self) -> Foreign:
        return self.model

    def head_parameters(self) -> Iterator[nn.Parameter]:
        # without a projection of open_clip's own, timm's classifier projects
        yield from self.model.get_classifier().parameters()
        yield from self.visual.head.parameters()


class TextTransformer:
    """CLIP's text transformer: tokens through the final norm and the text projection; also SigLIP's and CoCa's."""

    def __init__(self, text: Foreign) -> None:
        if text.pool_type == "none" and text.cls_emb is None:
            raise IebakerError(
                "text_cfg.pool_type 'none' gives no pooled vector; use 'argmax', 'eos', 'first' or 'last'"
            )
        self.text = text
        # nothing attends to or pools what follows the end token; not so for SigLIP ('last') and CoCa (class token)
        causal = text.attn_mask is not None
        self.ignores_padding = causal and text.cls_emb is None and text.pool_type in ("argmax", "eos")

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        text = self.text
        embedded, mask = text._embeds(inputs)
        if mask is not None:
            # a batch may be shorter than the context: less padding to compute
            mask = mask[..., : embedded.shape[1], : embedded.shape[1]]
        features = text.ln_final(text.transformer(embedded, attn_mask=mask))
        if text.cls_emb is not None:
            return features[:, -1], features[:, :-1]
        return open_clip.transformer.text_global_pool(features, inputs, text.pool_type, text.eos_id), features

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        projection = self.text.text_projection
        if projection is None:
            return pooled, tokens
        if isinstance(projection, nn.Linear):
            return projection(pooled), projection(tokens)
        return pooled @ projection, tokens @ projection

    def trunk_module(self) -> Foreign:
        return self.text

    def head_parameters(self) -> Iterator[nn.Parameter]:
        projection = self.text.text_projection
        if isinstance(projection, nn.Linear):
            yield from projection.parameters()
        elif projection is not None:
            yield projection


class HuggingFaceText:
    """A Hugging Face encoder with open_clip's pooler and projection; tokens through the same projection."""

    # padding is masked in the attention and in the pooler
    ignores_padding = True

    def __init__(self, text: Foreign) -> None:
        self.text = text

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        attended = (inputs != self.text.config.pad_token_id).long()
        output = self.text.transformer(input_ids=inputs, attention_mask=attended)
        return self.text.pooler(output, attended), output.last_hidden_state

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return self.text.proj(pooled), self.text.proj(tokens)

    def trunk_module(self) -> Foreign:
        return self.text.transformer

    def head_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.text.proj.parameters()


class PooledOnly:
    """Any tower, by its own forward: a pooled vector and no tokens; the whole tower is the trunk."""

    ignores_padding = False

    def __init__(self, tower: Foreign, reason: str) -> None:
        self.tower, self.reason = tower, reason

    def trunk(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        output = self.tower(inputs)
        # an attention pool of one query gives (B, 1, d)
        pooled = (output[0] if isinstance(output, tuple) else output).flatten(1)
        return pooled, pooled.new_empty(len(pooled), 0, pooled.shape[1])

    def head(self, pooled: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return pooled, tokens

    def trunk_module(self) -> Foreign:
        return self.tower

    def head_parameters(self) -> Iterator[nn.Parameter]:
        return iter(())


AnyAdapter = TypeVar("AnyAdapter", bound=Adapter)
IMAGE_ADAPTERS: dict[str, Callable[[Foreign], Adapter]] = {
    "VisionTransformer": VisionTransformer,
    "ModifiedResNet": ResNet,
    "TimmModel": Timm,
}
TEXT_ADAPTERS: dict[str, Callable[[Foreign], TextAdapter]] = {
    "TextTransformer": TextTransformer,
    "HFTextEncoder": HuggingFaceText,
}


def adapt(tower: Foreign, adapters: dict[str, Callable[[Foreign], AnyAdapter]]) -> AnyAdapter | PooledOnly:
    """The adapter of `tower`'s family; `PooledOnly` where its tokens have no place in the joint space.

    Raises:
        IebakerError: for a family without adapter, or a configuration without pooled vector.
    """
    family = type(tower).__name__
    if family not in adapters:
        raise IebakerError(f"no adapter for open_clip's {family}; there: {', '.join(adapters)}")
    try:
        return adapters[family](tower)
    except TokensMissing as error:
        return PooledOnly(tower, str(error))
