"""Trunks whose lower part is frozen and whose last blocks train.

What the lower part gives is kept as a frozen trunk's output is, so that an epoch costs the last blocks alone: towers
that learn, without an accelerator.
"""

from collections.abc import Iterator
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from iebaker.errors import IebakerError
from iebaker.model.adapters import Foreign, HuggingFaceText, Timm


class Divided(Protocol):
    """A trunk in two parts; `upper(lower(inputs), padding)` is the trunk of the adapter."""

    def lower(self, inputs: Tensor) -> Tensor:
        """(B, L, width) hidden features of images (B, 3, H, W) or token ids (B, L)."""

    def upper(self, hidden: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        """Pooled (B, width) and tokens (B, L', width) before the projection; padding is (B, L) bool."""

    def upper_parameters(self) -> Iterator[nn.Parameter]:
        """What trains."""


class DividedEfficientNet:
    """timm's EfficientNets: stages of blocks between a stem and a last convolution, which belongs to the upper part."""

    def __init__(self, adapter: Timm, blocks: int) -> None:
        self.adapter, self.model = adapter, adapter.model
        self.first = len(self.model.blocks) - blocks

    def lower(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.model.blocks[: self.first](self.model.bn1(self.model.conv_stem(inputs)))
        return features.flatten(2).transpose(1, 2)

    def upper(self, hidden: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        count, positions, width = hidden.shape
        side = round(positions**0.5)
        features = hidden.transpose(1, 2).reshape(count, width, side, side)
        features = features.contiguous(memory_format=torch.channels_last)
        features = self.model.blocks[self.first :](features)
        return self.adapter.pool(self.model.bn2(self.model.conv_head(features)))

    def upper_parameters(self) -> Iterator[nn.Parameter]:
        for part in (self.model.blocks[self.first :], self.model.conv_head, self.model.bn2):
            yield from part.parameters()


class DividedBert:
    """Hugging Face's BERTs: layers of a transformer."""

    def __init__(self, adapter: HuggingFaceText, blocks: int) -> None:
        self.text, self.bert = adapter.text, adapter.text.transformer
        self.first = len(self.bert.encoder.layer) - blocks

    def lower(self, inputs: Tensor) -> Tensor:
        padding = inputs == self.text.config.pad_token_id
        return self._run(self.bert.encoder.layer[: self.first], self.bert.embeddings(input_ids=inputs), padding)

    def upper(self, hidden: Tensor, padding: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self._run(self.bert.encoder.layer[self.first :], hidden, padding)
        output = self._output(last_hidden_state=tokens)
        return self.text.pooler(output, (~padding).long()), tokens

    def upper_parameters(self) -> Iterator[nn.Parameter]:
        yield from self.bert.encoder.layer[self.first :].parameters()

    @staticmethod
    def _run(layers: Foreign, hidden: Tensor, padding: Tensor) -> Tensor:
        mask = torch.zeros(padding.shape, dtype=hidden.dtype, device=hidden.device)
        mask = mask.masked_fill(padding, torch.finfo(hidden.dtype).min)[:, None, None, :]
        for layer in layers:
            hidden = layer(hidden, attention_mask=mask)
        return hidden

    @staticmethod
    def _output(**values: Any) -> Any:
        # open_clip's poolers read an output object
        from transformers.modeling_outputs import BaseModelOutput

        return BaseModelOutput(**values)


def divide(adapter: Foreign, blocks: int, what: str) -> Divided:
    """The trunk of `adapter`, whose last `blocks` blocks train.

    Args:
        what: the parameter that asks for it, for messages.

    Raises:
        IebakerError: for a family that can't be divided here, or more blocks than there are.
    """
    if isinstance(adapter, Timm) and hasattr(adapter.model, "conv_stem") and hasattr(adapter.model, "blocks"):
        there = len(adapter.model.blocks)
        kind: type[DividedEfficientNet | DividedBert] = DividedEfficientNet
    elif isinstance(adapter, HuggingFaceText) and hasattr(adapter.text.transformer, "encoder"):
        there, kind = len(adapter.text.transformer.encoder.layer), DividedBert
    else:
        raise IebakerError(
            f"{what}={blocks}: only EfficientNets of timm and BERTs of Hugging Face train in part; set it to 0, and "
            "lock the whole trunk or nothing"
        )
    if blocks > there:
        raise IebakerError(f"{what}={blocks}: the trunk has {there} blocks")
    return kind(adapter, blocks)
