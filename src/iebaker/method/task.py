"""One batch of pairs: towers, similarities, elimination, losses (method: Objective)."""

import math
from typing import NamedTuple, cast

from torch import Tensor, nn

from iebaker.config.params import KerParams, TrainingConfig
from iebaker.method import objective, similarity
from iebaker.method.eba import Elimination
from iebaker.method.keyword_head import KeywordHead
from iebaker.model.adapters import Trunk
from iebaker.model.towers import RetrievalModel


class MaskedCaptions(NamedTuple):
    """The captions of a batch with their keywords masked.

    Attributes:
        texts: input of the text tower.
        positions: (B, L) bool, True at masked positions.
        classes: (n,) int64 class behind each mask, row by row.
    """

    texts: Tensor | Trunk
    positions: Tensor
    classes: Tensor


class Batch(NamedTuple):
    """B pairs, ready for the towers.

    Attributes:
        images: input of the image tower.
        texts: input of the text tower, row by row the captions of these images.
        masked: the same captions for keyword reasoning; None without it.
        seed: of dropout.
    """

    images: Tensor | Trunk
    texts: Tensor | Trunk
    masked: MaskedCaptions | None
    seed: int


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

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """The loss of one batch, and what the history keeps of it.

        Returns:
            `loss` and its parts `loss_retrieval` and, with keyword reasoning, `loss_keywords`: scalars. `global` and,
            with a local loss, `local`: (B,) similarities of the positive pairs; `dropped_global` and `dropped_local`:
            (B,) bool of the elimination.
        """
        local = self.config.local
        images = self.model.image(batch.images, batch.seed)
        texts = self.model.text(batch.texts, batch.seed + 2)

        global_values = similarity.global_similarity(texts.pooled, images.pooled)
        local_values = None
        if local.loss:
            padding = texts.padding if local.mask_padding else None
            local_values = self.scale * similarity.local_similarity(
                texts.tokens, images.tokens, padding, precision=local.precision
            )

        positives = (global_values.diagonal(), None if local_values is None else local_values.diagonal())
        keep_global, keep_local = self.elimination.masks(*positives)
        loss = objective.retrieval_loss(global_values, local_values, keep_global, keep_local, self.scale, local.loss)
        record = {"global": positives[0], "dropped_global": ~keep_global, "loss_retrieval": loss}
        if local_values is not None:
            record |= {"local": local_values.diagonal(), "dropped_local": ~keep_local}

        if batch.masked is not None:
            ker, keyword_head = cast(KerParams, self.config.ker), cast(KeywordHead, self.keyword_head)
            masked = self.model.text(batch.masked.texts, batch.seed + 2)
            positions = batch.masked.positions[:, : masked.tokens.shape[1]]
            padding = masked.padding if local.mask_padding else None
            scores = keyword_head(masked.tokens, images.tokens, positions, padding)
            record["loss_keywords"] = objective.keyword_loss(scores, batch.masked.classes)
            loss = loss + ker.weight * record["loss_keywords"]
        return {"loss": loss, **record}
