"""The batches of a training: what the towers read of each pair."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from iebaker.config.params import TrainingConfig
from iebaker.corpus import loading
from iebaker.corpus.loading import StoredImage
from iebaker.method.masking import KeywordMasker
from iebaker.method.task import Batch, MaskedCaptions
from iebaker.model.adapters import Trunk
from iebaker.model.features import FeatureStore
from iebaker.model.towers import RetrievalModel
from iebaker.training.plan import Plan


class Feed:
    """Reads the batches of a plan, epoch by epoch; frozen trunks run once, when it is made, if there is an epoch.

    Args:
        config: the resolved parameters.
        plan: of the training.
        model: the towers.
        masker: of the keywords; None without keyword reasoning.
        streams: random streams by purpose.
        masking: random stream of the masks.
        store: where frozen trunks' features outlast the process.
    """

    def __init__(
        self,
        config: TrainingConfig,
        plan: Plan,
        model: RetrievalModel,
        masker: KeywordMasker | None,
        streams: dict[str, np.random.Generator],
        masking: torch.Generator,
        store: FeatureStore,
    ) -> None:
        self.recipe, self.plan, self.model, self.masker = config.train, plan, model, masker
        self.streams, self.masking = streams, masking
        self.captions = plan.captions
        self.images = loading.images_of_pairs(plan.members, plan.pairs)
        self.token_ids = model.tokenizer(self.captions)
        self.augments = self.recipe.crop_scale < 1 or self.recipe.flip
        if self.recipe.epochs and model.image.frozen and not self.augments:
            self._keep_images(store)
        if self.recipe.epochs and model.text.frozen:
            self._keep_texts(store)

    def epoch(self) -> Iterator[np.ndarray]:
        """Shuffled rows of the plan's pairs, batch by batch."""
        return loading.epoch_batches(self.plan.pairs, self.recipe.batch_size, self.recipe.pairs, self.streams["data"])

    def batch(self, rows: np.ndarray) -> Batch:
        """The pairs of these rows, augmented."""
        seed = int(self.streams["dropout"].integers(2**31))
        images = self._images([self.images[row] for row in rows])
        texts = self.model.text.inputs(self.token_ids[rows])
        return Batch(images, texts, self._masked(rows), seed)

    def _images(self, items: list[StoredImage]) -> Tensor | Trunk:
        tower, recipe = self.model.image, self.recipe
        if not self.augments:
            return tower.inputs(items)
        stream = self.streams["augmentation"]
        return tower.reader.augmented(items, tower.device, recipe.crop_scale, recipe.flip, stream)

    def _masked(self, rows: np.ndarray) -> MaskedCaptions | None:
        if self.masker is None:
            return None
        masked = self.masker.mask([self.captions[row] for row in rows], self.masking)
        device = self.model.text.device
        return MaskedCaptions(
            self.model.text.inputs(masked.token_ids), masked.masked.to(device), masked.classes.to(device)
        )

    def _keep_images(self, store: FeatureStore) -> None:
        tower = self.model.image
        distinct = set(self.images)
        for member in self.plan.members:
            distinct |= set(member.images(loading.split_of(member, "val").image_ids))
        images = sorted(distinct, key=StoredImage.place)
        content = [member.pixels_sha256.encode() for member in self.plan.members]
        content.append(repr([image.place() for image in images]).encode())
        tower.keep(
            images,
            lambda rows: tower.reader.inputs([images[row] for row in rows], tower.device),
            content,
            store,
            "frozen image trunk",
        )

    def _keep_texts(self, store: FeatureStore) -> None:
        tower = self.model.text
        reader = tower.reader
        texts = [self.token_ids]
        texts += [reader.ids(loading.split_of(member, "val").captions) for member in self.plan.members]
        if self.masker is not None:
            texts.append(self.masker.mask(self.captions).token_ids)
        distinct = torch.unique(torch.cat(texts), dim=0)
        trimmed = reader.trimmed(distinct)
        tower.keep(
            reader.keys(distinct),
            lambda rows: trimmed[rows].to(tower.device),
            [trimmed.numpy().tobytes()],
            store,
            "frozen text trunk",
        )
