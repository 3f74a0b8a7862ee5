"""What a model reaches on validation, and how well it tells weak training captions from others."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch

from iebaker.corpus import loading
from iebaker.corpus.loading import Member
from iebaker.method.similarity import global_similarity
from iebaker.metrics import elimination
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.model.encoding import encode, encode_captions, encode_images
from iebaker.model.towers import RetrievalModel


def validate(model: RetrievalModel, members: Sequence[Member]) -> float:
    """Mean recall (percent) on validation, averaged over the members: what the best epoch is chosen by.

    Of the global similarity alone, so that the fusion weights can change without a new training.
    """
    values = []
    for member in members:
        split = loading.split_of(member, "val")
        images = encode_images(model.image, member.images(split.image_ids), tokens=False)
        texts = encode_captions(model.text, split.captions, tokens=False)
        matrix = global_similarity(texts.features.pooled, images.features.pooled).numpy()[texts.row]
        values.append(recalls(hits(matrix, matrix, relevance(split.image_of_text)))["mR"])
    return float(np.mean(values))


def separation(model: RetrievalModel, members: Sequence[Member], pairs: pd.DataFrame) -> dict[str, float | None]:
    """How well the model tells weak training captions from untouched ones, where they are known.

    Of all training pairs, by global similarity without augmentation, so less noisy than an epoch's own record. Images
    count as they are: to encode all in eight orientations would take as long as some epochs.

    Args:
        pairs: as `loading.training_pairs` gives them.

    Returns:
        `auroc` of all weak ones, `auroc_<kind>` of each kind; empty where no pair is known to be weak.
    """
    if (pairs["weak"] == elimination.UNTOUCHED).all():
        return {}
    values = np.empty(len(pairs), np.float32)
    for index, rows in pairs.groupby("member").indices.items():
        image_ids, image = np.unique(pairs["image_id"].to_numpy()[rows], return_inverse=True)
        name = f"{members[index].name} training"
        images = encode(model.image, members[index].images(image_ids), tokens=False, progress=f"{name} images")
        captions = pairs["caption"].to_numpy()[rows].tolist()
        texts = encode_captions(model.text, captions, tokens=False, progress=f"{name} captions")
        pooled = texts.features.pooled[texts.row], images.pooled[image]
        values[rows] = torch.nn.functional.cosine_similarity(*pooled).numpy()
    return elimination.separation(values, pairs["weak"].to_numpy())
