"""Similarity matrices on disk: global and local apart, with row and column ids, so that fusion runs no tower."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iebaker import similarity
from iebaker.datasets import loading
from iebaker.datasets.loading import Member
from iebaker.encoding import Encoder
from iebaker.matrices import BANK_IMAGES, BANK_TEXTS, EVALUATION, GLOBAL, LOCAL, matrix_file
from iebaker.model.towers import TowerOutput
from iebaker.params import SimilarityParams

BLOCK = 1024


@dataclass(frozen=True)
class Encoded:
    """One side of a matrix: features of its distinct items, and the row of each item among them."""

    features: TowerOutput
    row: np.ndarray


@dataclass(frozen=True)
class Bank:
    """Training queries of both sides, for `querybank`."""

    texts: Encoded
    images: Encoded


def export_split(
    encoder: Encoder, member: int, split: str, params: SimilarityParams, bank: Bank | None, folder: Path
) -> None:
    """Write the matrices of one split of one member.

    `folder` gets `global.npy` and, where the local similarity was trained, `local.npy`, both (N_text, N_image) float32;
    `texts.parquet` (caption_id, caption, image_of_text) and `images.parquet` (image_id, filename), one row each for
    every row and column; and with a bank the same matrices against training texts and training images.

    Args:
        encoder: of the trained model.
        member: index of the benchmark in the corpus.
        split: "val" or "test".
        params: whether there is a local similarity, and whether padding counts in it.
        bank: as `encode_bank` gives it, or None.
    """
    folder.mkdir(parents=True, exist_ok=True)
    manifest = encoder.members[member].manifest
    chosen = loading.split_of(encoder.members[member], split)
    name = f"{encoder.members[member].name} {split}"
    texts = Encoded(*encoder.all_texts(chosen.captions, name))
    images = _images(encoder, member, chosen.image_ids, name)
    write_matrices(texts, images, params, folder, EVALUATION)
    filenames = manifest.drop_duplicates("image_id").set_index("image_id")["filename"]
    rows = {"caption_id": chosen.caption_ids, "caption": chosen.captions, "image_of_text": chosen.image_of_text}
    pd.DataFrame(rows).to_parquet(folder / "texts.parquet", index=False)
    columns = {"image_id": chosen.image_ids, "filename": filenames[chosen.image_ids].to_numpy()}
    pd.DataFrame(columns).to_parquet(folder / "images.parquet", index=False)
    if bank:
        write_matrices(bank.texts, images, params, folder, BANK_TEXTS)
        write_matrices(texts, bank.images, params, folder, BANK_IMAGES)


def encode_bank(encoder: Encoder, member: int, size: int) -> Bank | None:
    """Features of `training_bank`, once for all splits; None for size 0."""
    if not size:
        return None
    captions, image_ids = training_bank(encoder.members, member, size)
    name = f"{encoder.members[member].name} bank"
    return Bank(Encoded(*encoder.all_texts(captions, name)), _images(encoder, member, image_ids, name))


def training_bank(members: list[Member], member: int, size: int) -> tuple[list[str], np.ndarray]:
    """`size` distinct training captions and `size` training images of a member, the same on every call."""
    pairs, _ = loading.training_pairs(members)
    pairs = pairs[pairs["member"] == member]
    stream = loading.stream(0, loading.DATA_STREAM)
    captions, image_ids = pairs["caption"].unique(), pairs["image_id"].unique()
    return stream.permutation(captions)[:size].tolist(), np.sort(stream.permutation(image_ids)[:size])


def write_matrices(texts: Encoded, images: Encoded, params: SimilarityParams, folder: Path, prefix: str) -> None:
    """Write `<prefix>global.npy` and, with a local similarity, `<prefix>local.npy`, as memory maps."""
    values = similarity.global_similarity(texts.features.pooled, images.features.pooled).numpy()
    _write(matrix_file(folder, GLOBAL, prefix), values, texts.row)
    if params.local_loss:
        padding = texts.features.padding.numpy() if params.mask_padding else None
        tokens = texts.features.tokens.numpy(), images.features.tokens.numpy()
        similarity.write_local_similarity(values, *tokens, padding, params.precision)
        _write(matrix_file(folder, LOCAL, prefix), values, texts.row)


def _images(encoder: Encoder, member: int, image_ids: np.ndarray, progress: str) -> Encoded:
    return Encoded(encoder.all_images(member, image_ids, progress), np.arange(len(image_ids)))


def _write(path: Path, distinct: np.ndarray, row: np.ndarray) -> None:
    out = np.lib.format.open_memmap(path, "w+", np.float32, (len(row), distinct.shape[1]))
    for start in range(0, len(row), BLOCK):
        out[start : start + BLOCK] = distinct[row[start : start + BLOCK]]
    out.flush()
