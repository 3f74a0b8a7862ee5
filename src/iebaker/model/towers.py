"""The two towers of an open_clip model behind one call a side."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from iebaker.model.adapters import IMAGE_ADAPTERS, TEXT_ADAPTERS, Adapter, Trunk, adapt
from iebaker.model.preprocess import Preprocess
from iebaker.model.tokens import Tokenizer


class TowerOutput(NamedTuple):
    """One side of a batch in the joint space, not normalised.

    Attributes:
        pooled: (B, d), the tower's own output: v or t of the paper.
        tokens: (B, L, d): patches V or words T of the paper.
        padding: (B, L) bool, True at padding; all False for images.
    """

    pooled: Tensor
    tokens: Tensor
    padding: Tensor


class RetrievalModel(nn.Module):
    """An open_clip model that gives pooled features, projected tokens and their padding in one call a side.

    Each side is head(trunk(x)), the head being the projection into the joint space. A locked trunk runs in eval
    mode and without gradients, so that its `Trunk` may be computed once and kept.

    Attributes:
        name: open_clip's model name.
        embed_dim: d, the joint space's dimension.
        context_length: L, tokens a caption.
        preprocess: from stored pixels to the image tower's input.
        tokenizer: token ids, special ids and words' positions.
    """

    def __init__(
        self, clip: nn.Module, tokenizer: Tokenizer, preprocess: Preprocess, name: str, config: dict[str, Any]
    ) -> None:
        """Wrap `clip`, open_clip's model with separate text tower (`force_custom_text`), built from `config`.

        Raises:
            TowerError: for towers without pooled vector or tokens.
        """
        super().__init__()
        self.clip = clip
        self.tokenizer = tokenizer
        self.preprocess = preprocess
        self.name = name
        self.config = config
        self.embed_dim: int = config["embed_dim"]
        self.context_length = tokenizer.context_length
        self._image: Adapter = adapt(clip.visual, IMAGE_ADAPTERS)
        self._text: Adapter = adapt(clip.text, TEXT_ADAPTERS)
        self._locked: list[Adapter] = []
        # the method's scale is fixed, and nothing is decoded: keep what no loss reaches out of the optimiser
        towers = {id(parameter) for tower in (clip.visual, clip.text) for parameter in tower.parameters()}
        for parameter in clip.parameters():
            parameter.requires_grad_(id(parameter) in towers and parameter.requires_grad)

    def tokenize(self, captions: Sequence[str]) -> Tensor:
        """Token ids of `captions`, (B, L) int64."""
        return self.tokenizer(captions)

    def image_trunk(self, images: Tensor) -> Trunk:
        """Unprojected features of normalised `images`, (B, 3, size, size)."""
        with self._gradients(self._image):
            pooled, tokens = self._image.trunk(images)
        return Trunk(pooled, tokens, torch.zeros(tokens.shape[:2], dtype=torch.bool, device=tokens.device))

    def image_head(self, trunk: Trunk) -> TowerOutput:
        """Project image features into the joint space."""
        return TowerOutput(*self._image.head(trunk.pooled, trunk.tokens), trunk.padding)

    def encode_image(self, images: Tensor) -> TowerOutput:
        """Both of normalised `images`, (B, 3, size, size)."""
        return self.image_head(self.image_trunk(images))

    def text_trunk(self, token_ids: Tensor) -> Trunk:
        """Unprojected features of `token_ids`, (B, L)."""
        with self._gradients(self._text):
            pooled, tokens = self._text.trunk(token_ids)
        return Trunk(pooled, tokens, self.tokenizer.padding(token_ids))

    def text_head(self, trunk: Trunk) -> TowerOutput:
        """Project text features into the joint space."""
        return TowerOutput(*self._text.head(trunk.pooled, trunk.tokens), trunk.padding)

    def encode_text(self, token_ids: Tensor) -> TowerOutput:
        """Both of `token_ids`, (B, L)."""
        return self.text_head(self.text_trunk(token_ids))

    def forward(self, images: Tensor, token_ids: Tensor) -> tuple[TowerOutput, TowerOutput]:
        """Image side and text side of a batch."""
        return self.encode_image(images), self.encode_text(token_ids)

    @property
    def image_head_pools(self) -> bool:
        """Whether the image head needs the tokens for the pooled vector too."""
        return getattr(self._image, "pools_in_head", False)

    @property
    def text_ignores_padding(self) -> bool:
        """Whether columns of padding can be cut from token ids without changing any feature that is left."""
        return self._text.ignores_padding

    @property
    def image_locked(self) -> bool:
        """Whether the image trunk is frozen."""
        return self._image in self._locked

    @property
    def text_locked(self) -> bool:
        """Whether the text trunk is frozen."""
        return self._text in self._locked

    def lock(self, image: bool, text: bool) -> None:
        """Freeze trunks for good: their parameters and running statistics no longer change; heads still train."""
        for adapter, tower, wanted in ((self._image, self.clip.visual, image), (self._text, self.clip.text, text)):
            if wanted and adapter not in self._locked:
                heads = {id(parameter) for parameter in adapter.head_parameters()}
                for parameter in tower.parameters():
                    parameter.requires_grad_(id(parameter) in heads)
                self._locked.append(adapter)
        self.train(self.training)

    def train(self, mode: bool = True) -> "RetrievalModel":
        """Training mode for all but locked trunks, whose batch norm and dropout must rest."""
        super().train(mode)
        for adapter in self._locked:
            adapter.trunk_module().eval()
        return self

    def trunk_fingerprint(self, side: Literal["image", "text"]) -> bytes:
        """Identifies what a trunk computes: name, configuration, preprocessing, and all weights but the head's."""
        adapter, tower = (self._image, self.clip.visual) if side == "image" else (self._text, self.clip.text)
        heads = {id(parameter) for parameter in adapter.head_parameters()}
        digest = hashlib.sha256(repr((self.name, sorted(self.config.items()), self.preprocess)).encode())
        for name, values in chain(tower.named_parameters(), tower.named_buffers()):
            if id(values) not in heads:
                digest.update(name.encode())
                digest.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
        return digest.digest()

    def parameter_groups(self, lr: float, head_lr: float, weight_decay: float) -> list[dict[str, Any]]:
        """What trains, as groups for AdamW: trunks at `lr`, heads at `head_lr` (0: `lr` too)."""
        heads = {id(parameter) for side in (self._image, self._text) for parameter in side.head_parameters()}
        training = [parameter for parameter in self.parameters() if parameter.requires_grad]
        trunk = [parameter for parameter in training if id(parameter) not in heads]
        head = [parameter for parameter in training if id(parameter) in heads]
        return adamw_groups(trunk, lr, weight_decay) + adamw_groups(head, head_lr or lr, weight_decay)

    def _gradients(self, adapter: Adapter) -> Any:
        return torch.no_grad() if adapter in self._locked else nullcontext()


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
