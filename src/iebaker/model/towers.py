"""An open_clip model as two towers."""

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from iebaker import images
from iebaker.errors import IebakerError
from iebaker.model.adapters import IMAGE_ADAPTERS, TEXT_ADAPTERS, Foreign, PooledOnly, adapt
from iebaker.model.preprocess import Preprocess
from iebaker.model.quick_gelu import replace_quick_gelu
from iebaker.model.tokens import Tokenizer
from iebaker.model.tower import Tower, to_device


class PixelReader:
    """Images for an image tower: (S, S, 3) uint8 arrays, what has such `pixels`, PIL images, or files."""

    trim = False
    together = 4

    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess

    def keys(self, items: Sequence[Hashable]) -> list[Hashable]:
        """The items themselves."""
        return list(items)

    def inputs(self, items: Sequence[Any], device: torch.device) -> Tensor:
        """(B, 3, size, size) normalised float32."""
        return self.preprocess(self._stack(items, device))

    def augmented(self, items: Sequence[Any], device: torch.device, crops: np.ndarray) -> Tensor:
        """As `inputs`, of these crops."""
        return self.preprocess(self._stack(items, device), crops)

    def oriented(self, items: Sequence[Any], orientation: int) -> list[Any]:
        """The items in one of the orientations of `images.oriented`."""
        stored = [item.oriented(orientation) if hasattr(item, "oriented") else None for item in items]
        return [
            images.oriented(self._pixels(item), orientation) if turned is None else turned
            for item, turned in zip(items, stored, strict=True)
        ]

    def _stack(self, items: Sequence[Any], device: torch.device) -> Tensor:
        return to_device(torch.from_numpy(np.stack([self._pixels(item) for item in items])), device)

    def _pixels(self, item: Any) -> np.ndarray:
        if isinstance(item, (str, Path)):
            item = images.open_image(Path(item))
        if isinstance(item, Image.Image):
            return np.asarray(images.square(item.convert("RGB"), self.preprocess.size))
        pixels: np.ndarray = getattr(item, "pixels", item)
        return pixels

    def padding(self, inputs: Tensor, positions: int) -> Tensor:
        """An image has none."""
        return torch.zeros(len(inputs), positions, dtype=torch.bool, device=inputs.device)


class TokenReader:
    """Captions for a text tower: strings, or (B, L) token ids.

    Attributes:
        trim: whether columns that are padding in every caption of a batch are cut.
    """

    together = 32

    def __init__(self, tokenizer: Tokenizer, trim: bool) -> None:
        self.tokenizer, self.trim = tokenizer, trim

    def ids(self, items: Sequence[str] | Tensor) -> Tensor:
        """(B, L) int64."""
        return items if isinstance(items, Tensor) else self.tokenizer(items)

    def keys(self, items: Sequence[str] | Tensor) -> list[Hashable]:
        """Token ids, as bytes."""
        return [row.tobytes() for row in self.ids(items).numpy()]

    def trimmed(self, token_ids: Tensor) -> Tensor:
        """(B, L') token ids without the columns that are padding in every row."""
        return token_ids[:, : int(self.lengths(token_ids).max())] if self.trim else token_ids

    def lengths(self, token_ids: Tensor) -> Tensor:
        """(B,) tokens of each caption, start and end token among them."""
        return (~self.tokenizer.padding(token_ids)).sum(1)

    def inputs(self, items: Sequence[str] | Tensor, device: torch.device) -> Tensor:
        """(B, L') token ids."""
        return to_device(self.trimmed(self.ids(items)), device)

    def padding(self, inputs: Tensor, positions: int) -> Tensor:
        """(B, L') bool."""
        return self.tokenizer.padding(inputs)


class RetrievalModel(nn.Module):
    """An open_clip model as an image tower and a text tower.

    What no similarity reads (open_clip's learned scale, CoCa's decoder) is no part of it, and so never trains.

    Attributes:
        image, text: the towers.
        name: open_clip's model name.
        config: open_clip's configuration of that name.
        embed_dim: d, the joint space's dimension.
        preprocess: from stored pixels to the image tower's input.
        tokenizer: token ids, special ids and words' positions.
        caution: what people should know of its weights, or "".
    """

    def __init__(
        self, clip: Foreign, tokenizer: Tokenizer, preprocess: Preprocess, name: str, config: dict[str, Any]
    ) -> None:
        """Wrap `clip`, open_clip's model with separate text tower (`force_custom_text`), built from `config`.

        Raises:
            IebakerError: for towers without pooled vector.
        """
        super().__init__()
        self.tokenizer, self.preprocess = tokenizer, preprocess
        self.name, self.config = name, config
        self.caution = ""
        self.embed_dim: int = config["embed_dim"]
        replace_quick_gelu(clip)
        identity = repr((name, sorted(config.items()), preprocess))
        text = adapt(clip.text, TEXT_ADAPTERS)
        self.image = Tower(clip.visual, adapt(clip.visual, IMAGE_ADAPTERS), PixelReader(preprocess), identity)
        self.text = Tower(clip.text, text, TokenReader(tokenizer, text.ignores_padding), identity)
        self._ignores_padding = text.ignores_padding
        self.read(tokens=self.has_tokens)
        self._clip = (clip,)  # in a tuple: its parameters are those of the towers, and no others
        # convolutions on the CPU are a quarter faster so
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not declared

    @property
    def clip(self) -> Foreign:
        """The wrapped open_clip model."""
        return self._clip[0]

    @property
    def tokens_missing(self) -> str:
        """Why there is no local similarity; "" where there is one."""
        adapters = (self.image.adapter, self.text.adapter)
        return next((adapter.reason for adapter in adapters if isinstance(adapter, PooledOnly)), "")

    @property
    def has_tokens(self) -> bool:
        """Whether both towers give tokens in the joint space."""
        return not self.tokens_missing

    def lock(self, image: bool, text: bool, unlocked_image: int = 0, unlocked_text: int = 0) -> None:
        """Freeze trunks for good; heads still train, and so do the last `unlocked` blocks of a trunk.

        Raises:
            IebakerError: if a trunk can't be divided so.
        """
        if image:
            self.image.freeze(unlocked_image, "model.unlocked_image")
        if text:
            self.text.freeze(unlocked_text, "model.unlocked_text")

    def read(self, tokens: bool = True, trim: bool = True) -> None:
        """Say what will be read of the towers' output.

        Args:
            tokens: whether tokens are.
            trim: whether padding counts nowhere, so that it may be cut where the text tower ignores it.

        Raises:
            IebakerError: if tokens are wanted and there are none.
        """
        if tokens and not self.has_tokens:
            raise IebakerError(
                f"{self.name} has no local tokens: {self.tokens_missing}; set local.loss=0 and ker.enabled=false"
            )
        self.image.with_tokens = self.text.with_tokens = tokens
        self.text.reader.trim = trim and self._ignores_padding

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """What trains, as groups for AdamW: trunks at `lr`, heads at `head_lr` (0: `lr` too)."""
        heads = {id(weight) for tower in (self.image, self.text) for weight in tower.adapter.head_parameters()}
        training = [parameter for parameter in self.parameters() if parameter.requires_grad]
        trunk = [parameter for parameter in training if id(parameter) not in heads]
        head = [parameter for parameter in training if id(parameter) in heads]
        return adamw_groups(trunk, lr, weight_decay) + adamw_groups(head, head_lr or lr, weight_decay)


def adamw_groups(parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """`parameters` as non-empty AdamW groups: weight decay on matrices, none on vectors and biases."""
    parameters = list(parameters)
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    vectors = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [
        {"params": matrices, "lr": lr, "weight_decay": weight_decay},
        {"params": vectors, "lr": lr, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]
