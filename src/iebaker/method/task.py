"""One batch of pairs: towers, similarities, elimination, losses (method: Objective)."""

import math
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias, cast

import torch
from torch import Tensor, nn

from iebaker.config.params import KerParams, TrainingConfig
from iebaker.method import objective, similarity
from iebaker.method.eba import Elimination
from iebaker.method.gather import gathered, processes, rank
from iebaker.method.keyword_head import KeywordHead
from iebaker.model.adapters import Trunk
from iebaker.model.tower import TowerOutput
from iebaker.model.towers import RetrievalModel

SEEDS = 4  # that one forward of both towers takes

Encoded: TypeAlias = tuple[TowerOutput, TowerOutput]  # images and captions of a batch


class MaskedCaptions(NamedTuple):
    """The captions of a batch with their keywords masked.

    Attributes:
        texts: input of the text tower, row by row the captions of the pairs unless `pair` says otherwise.
        positions: (B, L) bool, True at masked positions.
        classes: (n,) int64 class behind each mask, row by row.
        of: masked positions of the whole batch, where this is a part of it; the keyword loss is their mean.
        pair: (R,) int64, ascending, the first pair of each of R rows, where equal pairs share one.
        times: (R,) int64, how many pairs share it.
    """

    texts: Tensor | Trunk
    positions: Tensor
    classes: Tensor
    of: int
    pair: Tensor | None = None
    times: Tensor | None = None

    def pieces(self, size: int, pairs: int) -> list["MaskedCaptions"]:
        """Those of `size` pairs at a time."""
        firsts = torch.arange(pairs) if self.pair is None else self.pair.cpu()
        edges = torch.searchsorted(firsts, torch.tensor([*range(0, pairs, size), pairs]))
        sizes: list[int] = torch.diff(edges).tolist()
        positions = torch.split(self.positions, sizes)
        classes = torch.split(self.classes, [int(part.sum()) for part in positions])
        none = [None] * len(sizes)
        pair = none if self.pair is None else [part % size for part in torch.split(self.pair, sizes)]
        times = none if self.times is None else torch.split(self.times, sizes)
        parts = zip(zip(_split(self.texts, sizes), positions, classes, strict=True), pair, times, strict=True)
        pieces = [MaskedCaptions(*part, self.of, *of_pairs) for part, *of_pairs in parts]
        return [piece if len(piece.positions) else self._nothing_masked() for piece in pieces]

    def _nothing_masked(self) -> "MaskedCaptions":
        """Of pairs that share rows of earlier pieces: one row without keyword, as the head reads no empty batch."""
        row = torch.zeros(1, dtype=torch.int64, device=self.positions.device)
        nowhere = torch.zeros_like(self.positions[:1])
        return MaskedCaptions(_split(self.texts, 1)[0], nowhere, self.classes[:0], self.of, row, row + 1)

    def weights(self) -> Tensor | None:
        """(n,) how many positions of the batch each masked one stands for; None: one."""
        return None if self.times is None else self.times.repeat_interleave(self.positions.sum(1))


class Batch(NamedTuple):
    """B pairs, ready for the towers.

    Attributes:
        images: input of the image tower, row by row those of the pairs unless `image_of` says otherwise.
        texts: input of the text tower, likewise.
        masked: the same captions for keyword reasoning; None without it.
        seed: of dropout.
        positives: (B', B') bool, which of the whole batch's B' pairs, those of all pieces and processes, are
            positives of each other; None: each pair's own alone.
        image_of, text_of: (B,) int64 row in `images` or `texts` of each pair, where pairs share them.
    """

    images: Tensor | Trunk
    texts: Tensor | Trunk
    masked: MaskedCaptions | None
    seed: int
    positives: Tensor | None = None
    image_of: Tensor | None = None
    text_of: Tensor | None = None

    @property
    def pairs(self) -> int:
        """B."""
        images = self.images.tokens if isinstance(self.images, Trunk) else self.images
        return len(images if self.image_of is None else self.image_of)

    def pieces(self, size: int) -> list["Batch"]:
        """The same pairs, at most `size` at a time; each piece has dropout of its own."""
        images, image_of = _split_shared(self.images, self.image_of, size)
        texts, text_of = _split_shared(self.texts, self.text_of, size)
        masked: Sequence[MaskedCaptions | None] = [None] * len(images)
        if self.masked is not None:
            masked = self.masked.pieces(size, self.pairs)
        return [
            Batch(*inputs, self.seed + SEEDS * piece, self.positives, *rows)
            for piece, (inputs, rows) in enumerate(
                zip(zip(images, texts, masked, strict=True), zip(image_of, text_of, strict=True), strict=True)
            )
        ]


class Features(NamedTuple):
    """What the similarities of B pairs are made of, or the gradients of a loss with respect to it.

    There is no token (L is 0) where no local similarity is wanted.
    """

    image: Tensor
    image_tokens: Tensor
    text: Tensor
    text_tokens: Tensor


class Rows(NamedTuple):
    """What the similarities of B pairs need beside their features.

    Attributes:
        padding: (B, L) bool, True at padding of the captions.
        image, text: (B,) int64 below B, equal where pairs share features: their similarity is computed once. None: no
            pairs do.
    """

    padding: Tensor
    image: Tensor | None
    text: Tensor | None

    @classmethod
    def joined(cls, parts: Sequence["Rows"]) -> "Rows":
        """The rows of all parts, which share nothing with each other."""
        lengths = [len(part.padding) for part in parts]
        starts = [sum(lengths[:index]) for index in range(len(parts))]

        def join(values: Sequence[Tensor | None]) -> Tensor | None:
            moved = [value + start for value, start in zip(values, starts, strict=True) if value is not None]
            return torch.cat(moved) if moved else None

        padding, image, text = zip(*parts, strict=True)
        return cls(torch.cat(padding), join(image), join(text))


class RetrievalTask(nn.Module):
    """What is trained: the model and the keyword head, with the elimination that decides what they learn from.

    Args:
        config: the resolved parameters.
        model: both towers.
        elimination: EBA's banks and thresholds.
        keyword_head: of KER; None without it.
    """

    def __init__(
        self, config: TrainingConfig, model: RetrievalModel, elimination: Elimination, keyword_head: KeywordHead | None
    ) -> None:
        super().__init__()
        self.config, self.elimination = config, elimination
        self.model, self.keyword_head = model, keyword_head
        self.scale = math.exp(config.train.logit_scale)

    def forward(
        self, batch: Batch, gradients: Features | None = None, encoded: Encoded | None = None
    ) -> dict[str, Tensor]:
        """The loss of one batch, and what the history keeps of it.

        Args:
            batch: the pairs; those of this process, where several train together.
            gradients: of the retrieval loss of a larger batch with respect to this one's features. Then
                `loss_retrieval` has those gradients, its value means nothing, and no similarity is compared.
            encoded: what `encode` returned of this batch, where that is there.

        Returns:
            `loss` and its parts `loss_retrieval` and, with keyword reasoning, `loss_keywords`: scalars, whose mean over
            the processes is that of the whole batch. Without `gradients`, also what `compare` returns.
        """
        with self._autocast():
            return self._losses(batch, gradients, encoded or self.encode(batch))

    def encode(self, batch: Batch) -> Encoded:
        """Images and captions in the joint space: pooled vectors pair by pair, tokens as they are shared."""
        with self._autocast():
            images = self.model.image(batch.images, batch.seed, batch.image_of)
            return images, self.model.text(batch.texts, batch.seed + 2, batch.text_of)

    def features(self, batch: Batch, images: TowerOutput, texts: TowerOutput) -> tuple[Features, Rows]:
        """What `compare` reads of the towers' output, pair by pair."""
        tokens = None if self.config.local.loss else 0
        image_tokens = _of_pairs(images.tokens[:, :tokens], batch.image_of)
        text_tokens = _of_pairs(texts.tokens[:, :tokens], batch.text_of)
        rows = Rows(_of_pairs(texts.padding, batch.text_of), batch.image_of, batch.text_of)
        return Features(images.pooled, image_tokens, texts.pooled, text_tokens), rows

    def compare(self, features: Features, rows: Rows, positives: Tensor | None) -> dict[str, Tensor]:
        """The retrieval loss over the pairs of all processes, each of which compares its captions with all images.

        Args:
            features: of the pairs of this process.
            rows: of the same pairs.
            positives: as in `Batch`.

        Returns:
            `loss_retrieval`: scalar. `global` and, with a local loss, `local`: (B,) similarities of the positive pairs
            of all processes; `dropped_global` and `dropped_local`: (B,) bool of the elimination.
        """
        local = self.config.local
        global_values = gathered(similarity.global_similarity(features.text, gathered(features.image)))
        local_values = None
        if local.loss:
            local_values = gathered(self.scale * self._local(features, rows))
        own_global, own_local = global_values.diagonal(), None if local_values is None else local_values.diagonal()
        keep_global, keep_local = self.elimination.masks(own_global, own_local)
        loss = objective.retrieval_loss(
            global_values, local_values, keep_global, keep_local, self.scale, local.loss, positives
        )
        record = {"global": own_global, "dropped_global": ~keep_global, "loss_retrieval": loss}
        if local_values is not None:
            record |= {"local": local_values.diagonal(), "dropped_local": ~keep_local}
        return record

    def _local(self, features: Features, rows: Rows) -> Tensor:
        """(B, B') local similarities of the captions of this process with all images."""
        images, local = gathered(features.image_tokens), self.config.local
        padding = rows.padding if local.mask_padding else None
        if rows.image is None or rows.text is None:
            return similarity.local_similarity(features.text_tokens, images, padding, precision=local.precision)
        own = rows.image + rank() * len(rows.image)
        (texts, text_of), (distinct, image_of) = _firsts(rows.text), _firsts(gathered(own))
        values = similarity.local_similarity(
            features.text_tokens[texts],
            images[distinct],
            None if padding is None else padding[texts],
            precision=local.precision,
        )
        return values[text_of][:, image_of]

    def _losses(self, batch: Batch, gradients: Features | None, encoded: Encoded) -> dict[str, Tensor]:
        images, texts = encoded
        features, rows = self.features(batch, images, texts)
        if gradients is None:
            record = self.compare(features, rows, batch.positives)
        else:
            parts = [(values.float() * wanted).sum() for values, wanted in zip(features, gradients, strict=True)]
            record = {"loss_retrieval": torch.stack(parts).sum()}
        loss = record["loss_retrieval"]
        if batch.masked is not None:
            record["loss_keywords"] = self._keyword_loss(batch, batch.masked, images)
            loss = loss + cast(KerParams, self.config.ker).weight * record["loss_keywords"]
        return {"loss": loss, **record}

    def _keyword_loss(self, batch: Batch, masked: MaskedCaptions, images: TowerOutput) -> Tensor:
        """This part's share of the whole batch's keyword loss, times the processes, over which DDP takes a mean."""
        texts = self.model.text(masked.texts, batch.seed + 2)
        positions = masked.positions[:, : texts.tokens.shape[1]]
        padding = texts.padding if self.config.local.mask_padding else None
        image_of, weights = batch.image_of, masked.weights()
        if masked.pair is not None:
            image_of = masked.pair if image_of is None else image_of[masked.pair]
        scores = cast(KeywordHead, self.keyword_head)(texts.tokens, images.tokens, positions, padding, image_of)
        there = len(masked.classes) if weights is None else weights.sum()
        share = processes() * there / max(masked.of, 1)
        return share * objective.keyword_loss(scores, masked.classes, weights)

    def _autocast(self) -> torch.autocast:
        precision = getattr(torch, self.config.train.precision)
        return torch.autocast(self.model.image.device.type, precision, enabled=precision != torch.float32)


def _of_pairs(values: Tensor, row: Tensor | None) -> Tensor:
    return values if row is None else values.index_select(0, row)


def _firsts(codes: Tensor) -> tuple[Tensor, Tensor]:
    """The row of the first of each distinct code, and for each row its place among those."""
    distinct, place = torch.unique(codes, return_inverse=True)
    rows = torch.arange(len(codes), device=codes.device)
    return rows.new_zeros(len(distinct)).scatter_reduce(0, place, rows, "amin", include_self=False), place


def _split_shared(
    inputs: Tensor | Trunk, row: Tensor | None, size: int
) -> tuple[list[Tensor | Trunk], list[Tensor | None]]:
    """Inputs of each piece of the pairs, and the rows of its pairs in them."""
    if row is None:
        parts = _split(inputs, size)
        return parts, [None] * len(parts)
    parts, rows = [], list[Tensor | None]()
    for piece in torch.split(row, size):
        used, within = torch.unique(piece, return_inverse=True)
        parts.append(Trunk(*(values[used] for values in inputs)) if isinstance(inputs, Trunk) else inputs[used])
        rows.append(within)
    return parts, rows


def _split(inputs: Tensor | Trunk, size: int | list[int]) -> list[Tensor | Trunk]:
    if isinstance(inputs, Trunk):
        return [Trunk(*parts) for parts in zip(*(torch.split(values, size) for values in inputs), strict=True)]
    return list(torch.split(inputs, size))
