"""The one function through which search uses a model: from items to normalised features."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from iebaker.errors import IebakerError
from iebaker.model import factory
from iebaker.model.encoding import encode, encode_captions, encode_images, pick_device

BATCH = 128  # images that wait for each other, whole pieces of a tower
FINGERPRINTED = (factory.WEIGHTS_FILE, factory.CONFIG_FILE)


class Embedder:
    """A model folder as `iebaker.model.factory.save` writes it, opened for search.

    Attributes:
        name: open_clip's name of the model.
        fingerprint: SHA-256 of weights, configuration and preprocessing.
        width: d.
        local: whether the model was trained with a local similarity.
        mask_padding: whether padding is left out of it.
    """

    def __init__(self, folder: Path, device: str = "auto") -> None:
        self.folder = folder
        self.fingerprint = fingerprint(folder)
        self.model = factory.load(folder).to(pick_device(device)).eval()
        description = factory.describe(folder)
        local = description.get("local", {})
        self.name, self.width = self.model.name, self.model.embed_dim
        self.local, self.mask_padding = bool(local.get("loss", 0)), bool(local.get("mask_padding", True))

    @property
    def image_size(self) -> int:
        """Side in pixels of the square that the image tower reads."""
        return self.model.preprocess.size

    def images(self, items: Sequence[Any], tokens: bool = False) -> tuple[np.ndarray, np.ndarray]:
        """Normalised features of images: pooled (N, d) float16 and tokens (N, P, d) float16, P = 0 without `tokens`.

        Args:
            items: PIL images, (S, S, 3) uint8 arrays, or files.
        """
        self.model.read(tokens=tokens)
        if not len(items):
            return np.zeros((0, self.width), np.float16), np.zeros((0, 0, self.width), np.float16)
        output = encode_images(self.model.image, _filled(items, self.model.image.piece), tokens).features
        return _half(output.pooled)[: len(items)], _half(output.tokens)[: len(items)]

    def texts(self, captions: Sequence[str], tokens: bool = False) -> tuple[np.ndarray, list[np.ndarray]]:
        """Normalised features of texts: pooled (N, d) float32, and for each its tokens (L, d) that count.

        Without `tokens` the second is empty. Each text is encoded alone, so its features never depend on the others.
        """
        self.model.read(tokens=tokens, trim=self.mask_padding)
        pooled, kept = np.zeros((len(captions), self.width), np.float32), []
        for row, caption in enumerate(captions):
            output = encode(self.model.text, [caption], tokens)
            pooled[row] = F.normalize(output.pooled, dim=-1)[0].numpy()
            if tokens:
                counted = ~output.padding[0] if self.mask_padding else torch.ones_like(output.padding[0])
                kept.append(F.normalize(output.tokens[0], dim=-1)[counted].numpy())
        return pooled, kept

    def captions(self, captions: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Normalised pooled features (M, d) float32 of the distinct ones of many texts, and (N,) the row of each text.

        Batches hold texts of like length, which is fast; features agree with those of `texts` up to rounding.
        """
        self.model.read(tokens=False, trim=self.mask_padding)
        found = encode_captions(self.model.text, captions, tokens=False)
        return F.normalize(found.features.pooled, dim=-1).numpy(), found.row

    def bank(self, captions: Sequence[str]) -> np.ndarray:
        """Normalised pooled features (N, d) float32 of many texts, in batches of equal size."""
        self.model.read(tokens=False)
        self.model.text.reader.trim = False  # equal shapes for every batch
        if not len(captions):
            return np.zeros((0, self.width), np.float32)
        output = encode(self.model.text, _filled(captions, self.model.text.piece), False)
        return F.normalize(output.pooled, dim=-1)[: len(captions)].numpy()


def fingerprint(folder: Path) -> str:
    """Identifies what a model folder computes.

    Raises:
        IebakerError: if it is no model folder.
    """
    digest = hashlib.sha256()
    for name in FINGERPRINTED:
        try:
            with (folder / name).open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise IebakerError(f"{folder}: {name} is missing; give a folder that `dvc repro` trained") from error
    return digest.hexdigest()


def _filled(items: Sequence[Any], piece: int) -> list[Any]:
    """Items up to whole pieces: then sums run in the same order for each whatever its neighbours are.

    So an archive has the same bytes however it was split and updated.
    """
    return [*items, *[items[-1]] * (-len(items) % piece)]


def _half(values: torch.Tensor) -> np.ndarray:
    return F.normalize(values, dim=-1).half().numpy()
