"""What the towers say of images and captions, in batches: live, or from the cached trunk of a frozen tower."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from iebaker.datasets.augment import random_crops
from iebaker.datasets.loading import Member
from iebaker.features import FeatureStore
from iebaker.model.adapters import Trunk
from iebaker.model.towers import RetrievalModel, TowerOutput

BATCH = 128


def pick_device(wanted: str, threads: int) -> torch.device:
    """The device to run on (`auto` is the accelerator if there is one), with the CPU's threads fixed.

    Raises:
        ValueError: if it is not there.
    """
    torch.set_num_threads(threads)
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"train.device={wanted}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from error
    return torch.device(wanted)


def stack(parts: Sequence[TowerOutput]) -> TowerOutput:
    """Concatenate outputs over the batch, padding token sequences to the longest."""
    longest = max(part.tokens.shape[1] for part in parts)

    def lengthen(values: Tensor, fill: float) -> Tensor:
        missing = longest - values.shape[1]
        return (
            values
            if missing == 0
            else torch.cat([values, values.new_full((len(values), missing, *values.shape[2:]), fill)], 1)
        )

    return TowerOutput(
        torch.cat([part.pooled for part in parts]),
        torch.cat([lengthen(part.tokens, 0.0) for part in parts]),
        torch.cat([lengthen(part.padding, True) for part in parts]),
    )


class Encoder:
    """Encodes images and captions with a model; trunks that can't change are run once and kept in half precision.

    A trunk can't change when it is frozen and, for images, when nothing is augmented.

    Args:
        model: the towers, on `device`.
        members: the corpus.
        device: where batches go.
        crop_scale: smallest area share of a random crop in training; 1 means none.
        flip: mirror training images at random.
        trim: cut token ids after the longest caption of a batch; only right when padding doesn't count.
        tokens: also give token features; a plain CLIP needs none, and projecting them is most of a frozen tower's work.
        feature_dropout: share of a cached trunk's features that is zeroed in training; heads on fixed features overfit.
        augmentation: random stream of the crops.
        store: where frozen trunks' features outlast the process; None keeps them in memory only.
    """

    def __init__(
        self,
        model: RetrievalModel,
        members: Sequence[Member],
        device: torch.device,
        crop_scale: float = 1.0,
        flip: bool = False,
        trim: bool = True,
        tokens: bool = True,
        feature_dropout: float = 0.0,
        augmentation: np.random.Generator | None = None,
        store: FeatureStore | None = None,
    ) -> None:
        # convolutions on the CPU are a quarter faster so
        self.model = model.to(memory_format=torch.channels_last)
        self.members, self.device, self.tokens = members, device, tokens
        self.feature_dropout = feature_dropout
        self.store = store or FeatureStore(None)
        self.dropout_seed: int | None = None
        self.trim = trim and model.text_ignores_padding
        self.crop_scale, self.flip, self.augmentation = crop_scale, flip, augmentation
        self.images_are_fixed = model.image_locked and crop_scale == 1 and not flip
        self.texts_are_fixed = model.text_locked
        self._images: dict[tuple[int, int], int] = {}
        self._texts: dict[bytes, int] = {}
        self._image_trunk: Trunk | None = None
        self._text_trunk: Trunk | None = None

    def images(self, member_of: np.ndarray, image_ids: np.ndarray, augment: bool = False) -> TowerOutput:
        """Encode images given by member index and image id; differentiable where the model trains."""
        self._seed_dropout(0)
        if self._image_trunk is not None:
            trunk = self._select(
                self._image_trunk,
                [self._images[key] for key in zip(member_of.tolist(), image_ids.tolist(), strict=True)],
            )
        else:
            batch = self._normalised(member_of, image_ids)
            if augment and (self.crop_scale < 1 or self.flip):
                batch = random_crops(batch, self.crop_scale, self.flip, self.augmentation)
            trunk = self._needed(self.model.image_trunk(batch), self.model.image_head_pools)
        self._seed_dropout(1)
        return self.model.image_head(trunk)

    def texts(self, token_ids: Tensor) -> TowerOutput:
        """Encode (B, L) token ids; differentiable where the model trains."""
        self._seed_dropout(2)
        if self._text_trunk is not None:
            trunk = self._select(self._text_trunk, [self._texts[key] for key in _keys(token_ids)])
        else:
            trunk = self._needed(self.model.text_trunk(self.trimmed(token_ids).to(self.device)))
        self._seed_dropout(3)
        return self.model.text_head(trunk)

    def _seed_dropout(self, part: int) -> None:
        """Dropout can only draw from the global stream: so that it draws the same with tokens and without.

        Each part of a step starts from its own seed, and pooled features are dropped out before tokens.
        """
        if self.model.training and self.dropout_seed is not None:
            torch.manual_seed(self.dropout_seed + part)

    def trimmed(self, token_ids: Tensor) -> Tensor:
        """(B, L') token ids without the columns that are padding in every row."""
        if not self.trim:
            return token_ids
        return token_ids[:, : int((~self.model.tokenizer.padding(token_ids)).sum(1).max())]

    @torch.no_grad()
    def all_images(
        self, member: int, image_ids: np.ndarray, progress: str = "", pooled_only: bool = False
    ) -> TowerOutput:
        """Encode images of one member for evaluation: (N, d) pooled, (N, P, d) tokens, in float32 on the CPU.

        With `pooled_only`, no tokens are kept: P is 0.
        """
        self.model.eval()
        return stack(
            [
                _to_cpu(self.images(np.full(len(rows), member), rows), pooled_only)
                for rows in _batches(image_ids, progress and f"{progress} images")
            ]
        )

    @torch.no_grad()
    def all_texts(
        self, captions: Sequence[str], progress: str = "", pooled_only: bool = False
    ) -> tuple[TowerOutput, np.ndarray]:
        """Encode each distinct caption once, so that identical captions tie exactly.

        With `pooled_only`, no tokens are kept.

        Returns:
            Features of the distinct captions, and (N_text,) the row of each caption among them.
        """
        self.model.eval()
        distinct, row_of_caption = np.unique(np.asarray(captions, dtype=object).astype(str), return_inverse=True)
        # captions of like length share a batch: less padding
        ids = self.model.tokenize(distinct.tolist())
        order = np.argsort((~self.model.tokenizer.padding(ids)).sum(1).numpy(), kind="stable")
        parts = [
            _to_cpu(self.texts(ids[rows]), pooled_only) for rows in _batches(order, progress and f"{progress} captions")
        ]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        return stack(parts), place[row_of_caption]

    def cache_images(self, member_of: np.ndarray, image_ids: np.ndarray) -> None:
        """Run the frozen image trunk once over these images; without effect where the trunk can change."""
        if self.images_are_fixed:
            keys = sorted(set(zip(member_of.tolist(), image_ids.tolist(), strict=True)))
            chosen = np.array(keys)
            pixels = [member.pixels_sha256.encode() for member in self.members]
            self._image_trunk = self._run_once(
                lambda rows: self._needed(
                    self.model.image_trunk(self._normalised(*chosen[rows].T)), self.model.image_head_pools
                ),
                len(keys),
                "frozen image trunk",
                [self.model.trunk_fingerprint("image"), *pixels, chosen.tobytes()],
            )
            self._images = {key: row for row, key in enumerate(keys)}

    def cache_texts(self, token_ids: Tensor) -> None:
        """Run the frozen text trunk once over the distinct rows of (N, L) token ids; as `cache_images`."""
        if self.texts_are_fixed:
            distinct = torch.unique(token_ids, dim=0)
            longest = self.trimmed(distinct)
            self._text_trunk = self._run_once(
                lambda rows: self._needed(self.model.text_trunk(longest[rows].to(self.device))),
                len(distinct),
                "frozen text trunk",
                [self.model.trunk_fingerprint("text"), longest.numpy().tobytes()],
            )
            self._texts = {key: row for row, key in enumerate(_keys(distinct))}

    def _normalised(self, member_of: np.ndarray, image_ids: np.ndarray) -> Tensor:
        chosen = zip(member_of.tolist(), image_ids.tolist(), strict=True)
        pixels = np.stack([self.members[member].pixels[image] for member, image in chosen])
        return self.model.preprocess(torch.from_numpy(pixels).to(self.device))

    def _run_once(self, trunk: Callable[[np.ndarray], Trunk], count: int, name: str, made_of: list[bytes]) -> Trunk:
        @torch.no_grad()
        def make() -> Trunk:
            self.model.eval()
            stored: list[Tensor] = []
            for rows in _batches(np.arange(count), name):
                for index, values in enumerate(trunk(rows)):
                    kept = values.to("cpu", torch.float16 if values.is_floating_point() else values.dtype)
                    if len(stored) <= index:
                        stored.append(torch.empty((count, *kept.shape[1:]), dtype=kept.dtype))
                    stored[index][rows] = kept
            return Trunk(*stored)

        return self.store.get([*made_of, str(self.tokens).encode()], self.device.type, make)

    def _needed(self, trunk: Trunk, by_head: bool = False) -> Trunk:
        """The trunk without the tokens that neither a loss nor the head reads."""
        return trunk if self.tokens or by_head else Trunk(trunk.pooled, trunk.tokens[:, :0], trunk.padding[:, :0])

    def _select(self, trunk: Trunk, rows: list[int]) -> Trunk:
        parts = [values[rows] for values in trunk]
        if self.trim and self.tokens:
            longest = int((~parts[2]).sum(1).max())
            parts[1:] = [values[:, :longest] for values in parts[1:]]
        pooled, tokens, padding = (values.to(self.device) for values in parts)
        dropout = self.feature_dropout if self.model.training else 0.0
        return Trunk(F.dropout(pooled.float(), dropout), F.dropout(tokens.float(), dropout), padding)


def _keys(token_ids: Tensor) -> list[bytes]:
    return [row.tobytes() for row in token_ids.numpy()]


def _to_cpu(output: TowerOutput, pooled_only: bool = False) -> TowerOutput:
    if pooled_only:
        output = TowerOutput(output.pooled, output.tokens[:, :0], output.padding[:, :0])
    return TowerOutput(*(values.cpu().float() if values.is_floating_point() else values.cpu() for values in output))


def _batches(rows: np.ndarray, progress: str) -> Iterable[np.ndarray]:
    starts = range(0, len(rows), BATCH)
    return (rows[start : start + BATCH] for start in tqdm(starts, desc=progress, disable=not progress, leave=False))
