"""A trained model for one's own programs: `iebaker.load`."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from iebaker.errors import IebakerError
from iebaker.model import factory
from iebaker.model.encoding import encode_captions, encode_images, pick_device
from iebaker.model.towers import RetrievalModel

ImageLike = str | Path | Image.Image


def load(path: str | Path, device: str = "auto") -> "Retriever":
    """The model of a folder that a training or `iebaker export-model` left, or any that open_clip names by a schema.

        model = iebaker.load("data/models/synthetic/full/0")
        images = model.encode_images(["airport.jpg", "forest.jpg"])
        texts = model.encode_texts(["several planes are parked near a terminal"])
        scores = model.similarity(texts, images)
        best = scores.argmax(axis=1)

    Args:
        path: the folder; or hf-hub:ORG/REPOSITORY, local-dir:FOLDER.
        device: auto, cpu, cuda, ...; the number of threads stays as it is.

    Raises:
        IebakerError: if there is no such model.
    """
    if not Path(path).expanduser().is_dir() and ":" not in str(path):
        raise IebakerError(f"{path}: no such folder; give one that a training or `iebaker export-model` wrote")
    return Retriever(factory.open_model(str(path)).to(pick_device(device)))


class Retriever:
    """Encodes images and captions into the joint space, and compares them by the global similarity.

    Attributes:
        model: the towers, in eval mode whenever they encode.
    """

    def __init__(self, model: RetrievalModel) -> None:
        self.model = model
        model.read(tokens=False)

    def encode_images(self, images: Sequence[ImageLike], progress: str = "") -> np.ndarray:
        """Features of images: (N, d) float32, of length 1.

        Args:
            images: files or PIL images; each is turned upright, resized and cut square.
            progress: name in a progress bar; none without.

        Raises:
            IebakerError: naming a file that cannot be read.
        """
        if not len(images):
            return self._none()
        return _normalised(encode_images(self.model.image, images, tokens=False, progress=progress).features.pooled)

    def encode_texts(self, texts: Sequence[str], progress: str = "") -> np.ndarray:
        """Features of captions: (N, d) float32, of length 1; equal captions have equal features."""
        if isinstance(texts, str):
            raise IebakerError(f"{texts!r}: give a list of captions, [{texts!r}]")
        if not len(texts):
            return self._none()
        encoded = encode_captions(self.model.text, texts, tokens=False, progress=progress)
        features: np.ndarray = _normalised(encoded.features.pooled)[encoded.row]
        return features

    def similarity(self, texts: Sequence[str] | np.ndarray, images: Sequence[ImageLike] | np.ndarray) -> np.ndarray:
        """Cosine similarities, (N_text, N_image) float32 in [-1, 1].

        Args:
            texts: captions, or what `encode_texts` gave.
            images: files or PIL images, or what `encode_images` gave.
        """
        text_features = texts if isinstance(texts, np.ndarray) else self.encode_texts(texts)
        image_features = images if isinstance(images, np.ndarray) else self.encode_images(images)
        similarity: np.ndarray = text_features @ image_features.T
        return similarity

    def _none(self) -> np.ndarray:
        return np.empty((0, self.model.embed_dim), np.float32)


def _normalised(features: torch.Tensor) -> np.ndarray:
    return torch.nn.functional.normalize(features, dim=-1).numpy()
