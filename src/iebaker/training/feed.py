"""The batches of a training: what the towers read of each pair."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from iebaker.config.params import TrainingConfig
from iebaker.corpus import loading
from iebaker.corpus.loading import StoredImage
from iebaker.corpus.words import names_direction
from iebaker.method.gather import processes, rank
from iebaker.method.masking import KeywordMasker
from iebaker.method.task import SEEDS, Batch, MaskedCaptions
from iebaker.model.adapters import Trunk
from iebaker.model.augment import draw_crops
from iebaker.model.features import FeatureStore
from iebaker.model.tower import to_device
from iebaker.model.towers import RetrievalModel
from iebaker.training.plan import Plan


class Draw(NamedTuple):
    """What is random of one batch, of all processes together.

    Attributes:
        rows: (B,) of the plan's pairs.
        seed: of dropout.
        crops: (B, 4) of the images; None where nothing is cut.
        orientations: (B,) of the images.
    """

    rows: np.ndarray
    seed: int
    crops: np.ndarray | None
    orientations: np.ndarray


class Distinct(NamedTuple):
    """What is encoded once of things that repeat in a batch.

    Attributes:
        first: (D,) the place of each distinct thing's first, ascending.
        number: (B,) which of them each one is.
        times: (D,) how often each is there.
    """

    first: np.ndarray
    number: np.ndarray
    times: np.ndarray


class Feed:
    """Reads the batches of a plan, epoch by epoch; frozen trunks run once, when it is made, if there is an epoch.

    Where several processes train together, all draw the same, and each reads an equal share of every batch.

    Args:
        config: the resolved parameters.
        plan: of the training.
        model: the towers.
        masker: of the keywords; None without keyword reasoning.
        streams: random streams by purpose.
        masking: random stream of the masks.
        store: where frozen trunks' features outlast the process.

    Attributes:
        waited: seconds that a batch was waited for.
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
        self.waited = 0.0
        share = config.train.batch_size // processes()
        self.share, self.seed_offset = slice(rank() * share, (rank() + 1) * share), rank() * SEEDS * share
        self.recipe, self.plan, self.model, self.masker = config.train, plan, model, masker
        self.streams, self.masking = streams, masking
        self.captions = plan.captions
        self.images = loading.images_of_pairs(plan.members, plan.pairs)
        self.token_ids = model.tokenizer(self.captions)
        self.same_caption = plan.pairs["caption"].astype("category").cat.codes.to_numpy()
        self.same_image = plan.pairs.groupby(["member", "image_id"]).ngroup().to_numpy()
        named = pd.Series([names_direction(caption) for caption in self.captions], dtype=bool)
        self.turns = ~named.groupby(self.same_image).transform("any").to_numpy()
        self.crops = self.recipe.crop_scale < 1
        if self.recipe.epochs and model.image.frozen and not self.crops:
            self._keep_images(store)
        if self.recipe.epochs and model.text.frozen:
            self._keep_texts(store)

    def epoch(self) -> Iterator[np.ndarray]:
        """Shuffled rows of the plan's pairs, batch by batch."""
        return loading.epoch_batches(self.plan.pairs, self.recipe.batch_size, self.recipe.pairs, self.streams["data"])

    def batches(self, epoch: Sequence[np.ndarray]) -> Iterator[Batch]:
        """The batches of these rows, each read by a thread of its own while the one before is computed on."""
        with ThreadPoolExecutor(1, "feed") as thread:
            pending = thread.submit(self._read, self._draw(epoch[0]))
            for following in range(1, len(epoch) + 1):
                started = time.perf_counter()
                batch = pending.result()
                self.waited += time.perf_counter() - started
                if following < len(epoch):
                    pending = thread.submit(self._read, self._draw(epoch[following]))
                yield batch

    def batch(self, rows: np.ndarray) -> Batch:
        """The pairs of these rows, augmented."""
        return self._read(self._draw(rows))

    def _draw(self, rows: np.ndarray) -> Draw:
        # not by the thread that reads: crops are drawn from torch's global stream, as dropout is meanwhile
        seed, crops, orientations = int(self.streams["dropout"].integers(2**31)), None, np.zeros(len(rows), np.int64)
        recipe, stream = self.recipe, self.streams["augmentation"]
        if self.crops:
            crops = draw_crops(len(rows), self.images[rows[0]].pixels.shape[0], recipe.crop_scale, stream)
        if recipe.orientations > 1:
            orientations = stream.integers(recipe.orientations, size=len(rows)) * self.turns[rows]
        images = self._distinct(self.same_image[rows])  # one draw for each, whichever process encodes it
        same = images.first[images.number]
        return Draw(rows, seed, None if crops is None else crops[same], orientations[same])

    @torch.no_grad()
    def _read(self, draw: Draw) -> Batch:
        rows = draw.rows[self.share]
        image, text = self._distinct(self.same_image[rows]), self._distinct(self.same_caption[rows])
        orientations = draw.orientations[self.share]
        items = [self.images[rows[place]].oriented(orientations[place]) for place in image.first]
        images = self._images(items, None if draw.crops is None else draw.crops[self.share][image.first])
        texts = self.model.text.inputs(self.token_ids[rows[text.first]])
        masked, positives = self._masked(draw.rows), self._positives(draw.rows)
        seed = draw.seed + self.seed_offset
        return Batch(images, texts, masked, seed, positives, self._shared(image.number), self._shared(text.number))

    def _distinct(self, *codes: np.ndarray) -> Distinct:
        """The distinct rows of these columns; each its own where an epoch doesn't bring whole images."""
        if self.recipe.pairs != "whole_images":
            every = np.arange(len(codes[0]))
            return Distinct(every, every, np.ones_like(every))
        _, first, number, times = np.unique(
            np.column_stack(codes), axis=0, return_index=True, return_inverse=True, return_counts=True
        )
        order = np.argsort(first)
        return Distinct(first[order], np.argsort(order)[number.ravel()], times[order])

    def _shared(self, values: np.ndarray) -> Tensor | None:
        """`values` of a `Distinct` for the batch; None where each thing is its own."""
        if self.recipe.pairs != "whole_images":
            return None
        return to_device(torch.from_numpy(values), self.model.image.device)

    def _images(self, items: list[StoredImage], crops: np.ndarray | None) -> Tensor | Trunk:
        tower = self.model.image
        if crops is None:
            return tower.inputs(items)
        return tower.reader.augmented(items, tower.device, crops)

    def _masked(self, rows: np.ndarray) -> MaskedCaptions | None:
        if self.masker is None:
            return None
        masked = self.masker.mask([self.captions[row] for row in rows], self.masking)
        own, token_ids, positions = rows[self.share], masked.token_ids[self.share], masked.masked[self.share]
        pair_of_class = torch.repeat_interleave(masked.masked.sum(1)).numpy() - self.share.start
        pairs = self._distinct(self.same_image[own], self.same_caption[own], token_ids.numpy())
        device = self.model.text.device
        return MaskedCaptions(
            self.model.text.inputs(token_ids[pairs.first]),
            to_device(positions[pairs.first], device),
            to_device(masked.classes[np.isin(pair_of_class, pairs.first)], device),
            of=len(masked.classes),
            pair=self._shared(pairs.first),
            times=self._shared(pairs.times),
        )

    def _positives(self, rows: np.ndarray) -> Tensor | None:
        if self.recipe.positives == "own":
            return None
        codes = (self.same_caption[rows], self.same_image[rows])
        alike = np.logical_or(*(of_rows[:, None] == of_rows for of_rows in codes))
        return to_device(torch.from_numpy(alike), self.model.image.device)

    def _keep_images(self, store: FeatureStore) -> None:
        tower = self.model.image
        distinct = set(self.images)
        for image, turns in set(zip(self.images, self.turns, strict=True)):
            distinct |= {image.oriented(number) for number in range(1, self.recipe.orientations if turns else 1)}
        for member in self.plan.members:
            for image in member.images(loading.split_of(member, "val").image_ids):
                distinct |= {image.oriented(number) for number in range(tower.orientations)}
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
