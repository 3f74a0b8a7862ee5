"""One side of a model: a trunk, a head, and the trunk's output kept where it is frozen."""

import hashlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, Generic, NamedTuple, Protocol, Self, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from iebaker.errors import IebakerError
from iebaker.model.adapters import Adapter, Trunk
from iebaker.model.divided import Divided, divide
from iebaker.model.features import FeatureStore, Kept
from iebaker.model.length import by_length
from iebaker.model.pieces import Result, piecewise

BATCH = 128  # items at a time where nothing trains, on an accelerator


class TowerOutput(NamedTuple):
    """One side of a batch in the joint space, not normalised.

    Attributes:
        pooled: (B, d), the tower's own output: v or t of the paper.
        tokens: (B, L, d): patches V or words T of the paper; L is 0 where they are not wanted.
        padding: (B, L) bool, True at padding; all False for images.
    """

    pooled: Tensor
    tokens: Tensor
    padding: Tensor


class Reader(Protocol):
    """From items (images, or captions) to a tower's input.

    Attributes:
        trim: whether columns that are padding in every item of a batch are cut.
        together: items that a core takes at a time where nothing trains: so few that what one layer leaves for the
            next stays in its cache.
    """

    trim: bool
    together: int

    def keys(self, items: Any) -> list[Hashable]:
        """What tells items apart: equal keys have equal features."""

    def inputs(self, items: Any, device: torch.device) -> Tensor:
        """Images (B, 3, size, size), or token ids (B, L)."""

    def padding(self, inputs: Tensor, positions: int) -> Tensor:
        """(B, positions) bool, True at tokens that are padding."""


AnyReader = TypeVar("AnyReader", bound=Reader)


class Tower(nn.Module, Generic[AnyReader]):
    """One side of the model: head(trunk(inputs)), the head being the projection into the joint space.

    A frozen trunk runs in eval mode and without gradients, so its output can be kept for later batches.

    Attributes:
        adapter: of the body's family.
        frozen: whether the trunk is; its head still trains.
        unlocked: how many blocks of a frozen trunk train all the same.
        divided: the trunk in two parts, if there are any.
        with_tokens: whether tokens are wanted; a plain CLIP reads none, and projecting them is most of the work that a
            frozen tower leaves.
        orientations: of an image, whose mean embedding stands for it where nothing trains.
        feature_dropout: share of a kept trunk's features that is zeroed in training; heads on fixed features overfit.
        length_groups: in which trimmed captions of similar length are encoded together in training.
    """

    def __init__(self, body: nn.Module, adapter: Adapter, reader: AnyReader, identity: str) -> None:
        """Wrap a tower of open_clip.

        Args:
            body: the tower.
            adapter: splits it into trunk and head.
            reader: turns items into its input.
            identity: of what it computes beside its weights: name, configuration, preprocessing.
        """
        super().__init__()
        self.body, self.adapter, self.reader, self.identity = body, adapter, reader, identity
        self.frozen, self.with_tokens, self.feature_dropout = False, True, 0.0
        self.unlocked, self.orientations, self.length_groups = 0, 1, 1
        self.divided: Divided | None = None
        self._compiled: Callable[[Tensor | Trunk], Trunk] | None = None
        self._kept: Kept | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.body.parameters()).device

    @property
    def piece(self) -> int:
        """Items that are encoded at a time where nothing trains."""
        return self.reader.together if self.device.type == "cpu" else BATCH

    def inputs(self, items: Any) -> Tensor | Trunk:
        """What `forward` takes for these items: the kept output of the trunk where there is one, else its input.

        Args:
            items: for the image tower (S, S, 3) arrays, PIL images, files; for the text tower strings or token ids.
        """
        if self._kept is not None and (found := self._kept.of(self.reader.keys(items), self.reader.trim)) is not None:
            return Trunk(*(to_device(values, self.device) for values in found))
        return self.reader.inputs(items, self.device)

    def forward(self, inputs: Tensor | Trunk, seed: int | None = None, rows: Tensor | None = None) -> TowerOutput:
        """Encode a batch; differentiable where the tower trains.

        Args:
            inputs: from `inputs`.
            seed: of dropout, in trunk and head apart, so that each draws the same whatever the other does.
            rows: (B,) int64 rows of the inputs. Then pooled vectors are B, each with a draw of dropout of its own, of
                what the trunk computed once; tokens and padding stay those of the inputs. None: one for each input.
        """
        _seed(seed, 0)
        trunk = self.trunk(inputs)
        pooled_by_head = getattr(self.adapter, "pools_in_head", False)
        if rows is not None and not pooled_by_head:
            trunk = trunk._replace(pooled=trunk.pooled.index_select(0, rows))
        if isinstance(inputs, Trunk):
            trunk = self._thinned(trunk)
        _seed(seed, 1)
        output = self.head(trunk)
        if rows is not None and pooled_by_head:
            output = output._replace(pooled=output.pooled.index_select(0, rows))
        return output

    def trunk(self, inputs: Tensor | Trunk) -> Trunk:
        """Features of `inputs` before the projection, by `length_groups`; tokens that are padding mean nothing."""
        run = self._compiled if self.training and self._compiled is not None else self._trunk
        groups = self.length_groups if self.training and self.reader.trim else 1
        if groups == 1 or (isinstance(inputs, Trunk) and self.divided is None):
            return run(inputs)
        padding = inputs.padding if isinstance(inputs, Trunk) else self.reader.padding(inputs, inputs.shape[1])
        return by_length(run, inputs, padding, groups)

    def _trunk(self, inputs: Tensor | Trunk) -> Trunk:
        return self._upper(inputs if isinstance(inputs, Trunk) else self.lower(inputs))

    def lower(self, inputs: Tensor) -> Trunk:
        """What of the trunk's work can be kept while it is frozen: all of it, or, if divided, hidden features."""
        with torch.no_grad() if self.frozen else nullcontext():
            if self.divided is not None:
                hidden = self.divided.lower(inputs)
                return Trunk(hidden[:, 0, :0], hidden, self.reader.padding(inputs, hidden.shape[1]))
            pooled, tokens = self.adapter.trunk(inputs)
        return self._wanted(pooled, tokens, self.reader.padding(inputs, tokens.shape[1]))

    def head(self, trunk: Trunk) -> TowerOutput:
        """Features in the joint space."""
        return TowerOutput(*self.adapter.head(trunk.pooled, trunk.tokens), trunk.padding)

    def compile_trunk(self) -> None:
        """Let torch.compile translate the trunk for training; where nothing trains, it runs as it is written.

        Raises:
            IebakerError: if the processor's code can't be compiled here.
        """
        if self.device.type == "cpu":
            from torch._inductor import cpp_builder  # takes seconds
            from torch._inductor.exc import InvalidCxxCompiler

            try:
                cpp_builder.get_cpp_compiler()
            except InvalidCxxCompiler as error:
                raise IebakerError(
                    "train.compile=true needs a C++ compiler; install g++, or set it to false"
                ) from error
        self._compiled = torch.compile(self._trunk)

    def freeze(self, unlocked: int = 0, what: str = "unlocked") -> None:
        """Freeze the trunk for good: its parameters and running statistics no longer change.

        Args:
            unlocked: how many of its last blocks train all the same, with resting statistics and no dropout.
            what: the parameter that says so, for messages.

        Raises:
            IebakerError: if the trunk can't be divided so.
        """
        self.unlocked = unlocked
        if unlocked:
            self.divided = divide(self.adapter, unlocked, what)
        training = self._training_parameters()
        for parameter in self.body.parameters():
            parameter.requires_grad_(id(parameter) in training)
        self.frozen = True
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Training mode for all but a frozen trunk, whose batch norm and dropout must rest."""
        super().train(mode)
        if self.frozen:
            self.adapter.trunk_module().eval()
        return self

    def keep(
        self,
        keys: Sequence[Hashable],
        read: Callable[[np.ndarray], Tensor],
        content: Iterable[bytes],
        store: FeatureStore,
        progress: str,
    ) -> None:
        """Run the frozen trunk once over items, and keep what it gives in half precision.

        Args:
            keys: of the items, as the reader gives them.
            read: the tower's input of some of them, by their positions.
            content: identifies all of them, for the store.
            store: where features outlast the process.
            progress: name in the progress bar.
        """

        def run() -> Trunk:
            self.eval()
            stored: list[Tensor] = []
            for rows, trunk in self.piecewise(lambda rows: (rows, self.lower(read(rows))), len(keys), progress):
                for index, values in enumerate(trunk):
                    kept = values.to("cpu", torch.float16 if values.is_floating_point() else values.dtype)
                    if len(stored) <= index:
                        stored.append(torch.empty((len(keys), *kept.shape[1:]), dtype=kept.dtype))
                    stored[index][rows] = kept
            return Trunk(*stored)

        # what the lower part of a divided trunk gives is the same with and without tokens
        tokens = self.with_tokens or self.divided is not None
        made_of = [self.fingerprint(), *content, f"{tokens} {self.unlocked}".encode()]
        self._kept = Kept(keys, store.get(made_of, self.device.type, run))

    def piecewise(self, function: Callable[[np.ndarray], Result], count: int, progress: str = "") -> Iterator[Result]:
        """What `function` gives for so many of `count` items at a time as suit the device (pieces.py)."""
        return piecewise(function, count, self.piece, self.device, progress)

    def fingerprint(self) -> bytes:
        """Identifies what `lower` computes: its configuration, and all weights that do not train once frozen."""
        training = self._training_parameters()
        digest = hashlib.sha256(self.identity.encode())
        for name, values in chain(self.body.named_parameters(), self.body.named_buffers()):
            if id(values) not in training:
                digest.update(name.encode())
                digest.update(values.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
        return digest.digest()

    def _training_parameters(self) -> set[int]:
        parts = [self.adapter.head_parameters()]
        if self.divided is not None:
            parts.append(self.divided.upper_parameters())
        return {id(parameter) for parameter in chain(*parts)}

    def _upper(self, lower: Trunk) -> Trunk:
        if self.divided is None:
            return lower
        pooled, tokens = self.divided.upper(lower.tokens.float(), lower.padding)
        return self._wanted(pooled, tokens, lower.padding[:, : tokens.shape[1]])

    def _wanted(self, pooled: Tensor, tokens: Tensor, padding: Tensor) -> Trunk:
        if self.with_tokens or getattr(self.adapter, "pools_in_head", False):
            return Trunk(pooled, tokens, padding)
        return Trunk(pooled, tokens[:, :0], padding[:, :0])

    def _thinned(self, trunk: Trunk) -> Trunk:
        dropout = self.feature_dropout if self.training else 0.0
        return Trunk(F.dropout(trunk.pooled.float(), dropout), F.dropout(trunk.tokens.float(), dropout), trunk.padding)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """A copy on the device; to an accelerator from pinned memory, so that nothing waits for it."""
    if device.type != "cuda":
        return values.to(device)
    return values.pin_memory().to(device, non_blocking=True)


def _seed(seed: int | None, part: int) -> None:
    # dropout can only draw from torch's global stream
    if seed is not None:
        torch.manual_seed(seed + part)
