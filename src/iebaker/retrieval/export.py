"""Similarity matrices on disk: global and local apart, with row and column ids, so that fusion runs no tower."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from iebaker.config.params import LocalParams
from iebaker.corpus import loading
from iebaker.corpus.loading import Member
from iebaker.corpus.streams import stream
from iebaker.method import similarity
from iebaker.model.encoding import Encoded, encode_captions, encode_images
from iebaker.model.towers import RetrievalModel
from iebaker.retrieval.matrices import (
    BANK_IMAGES,
    BANK_TEXTS,
    EVALUATION,
    EVALUATION_SPLITS,
    GLOBAL,
    LOCAL,
    matrix_file,
)

BLOCK = 1024


class BankFeatures(NamedTuple):
    """Training queries of both sides, for `querybank`."""

    texts: Encoded
    images: Encoded


def export(model: RetrievalModel, members: Sequence[Member], params: LocalParams, bank_size: int, out: Path) -> None:
    """Write the matrices of validation and test of every member, in `out`/<benchmark>/<split>/.

    Args:
        model: a trained one.
        members: the corpus.
        params: whether there is a local similarity, and whether padding counts in it.
        bank_size: training queries of each side; 0 writes no bank.
    """
    model.read(tokens=params.loss > 0, trim=params.mask_padding)
    for index, member in enumerate(members):
        bank = encode_bank(model, members, index, bank_size) if bank_size else None
        for split in EVALUATION_SPLITS:
            if loading.split_of(member, split).captions:
                export_split(model, member, split, params, bank, out / member.name / split)


def export_split(
    model: RetrievalModel, member: Member, split: str, params: LocalParams, bank: BankFeatures | None, folder: Path
) -> None:
    """Write the matrices of one split of one member.

    `folder` gets `global.npy` and, where the local similarity was trained, `local.npy`, both (N_text, N_image) float32;
    `texts.parquet` (caption_id, caption, image_of_text) and `images.parquet` (image_id, filename), one row each for
    every row and column; and with a bank the same matrices against training texts and training images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = loading.split_of(member, split)
    name = f"{member.name} {split}"
    texts = encode_captions(model.text, chosen.captions, progress=f"{name} captions")
    images = encode_images(model.image, member.images(chosen.image_ids), progress=f"{name} images")
    write_matrices(texts, images, params, folder, EVALUATION)
    filenames = member.manifest.drop_duplicates("image_id").set_index("image_id")["filename"]
    rows = {"caption_id": chosen.caption_ids, "caption": chosen.captions, "image_of_text": chosen.image_of_text}
    pd.DataFrame(rows).to_parquet(folder / "texts.parquet", index=False)
    columns = {"image_id": chosen.image_ids, "filename": filenames[chosen.image_ids].to_numpy()}
    pd.DataFrame(columns).to_parquet(folder / "images.parquet", index=False)
    if bank:
        write_matrices(bank.texts, images, params, folder, BANK_TEXTS)
        write_matrices(texts, bank.images, params, folder, BANK_IMAGES)


def encode_bank(model: RetrievalModel, members: Sequence[Member], index: int, size: int) -> BankFeatures | None:
    """Features of `training_bank`, once for all splits of the member at `index`; None without training pairs."""
    captions, image_ids = training_bank(members, index, size)
    if not captions:
        return None
    name = f"{members[index].name} bank"
    return BankFeatures(
        encode_captions(model.text, captions, progress=f"{name} captions"),
        encode_images(model.image, members[index].images(image_ids), progress=f"{name} images"),
    )


def training_bank(members: Sequence[Member], index: int, size: int) -> tuple[list[str], np.ndarray]:
    """`size` distinct training captions and `size` training images of a member, the same on every call."""
    pairs, _ = loading.training_pairs(members)
    pairs = pairs[pairs["member"] == index]
    generator = stream(0, "data")
    captions, image_ids = pairs["caption"].unique(), pairs["image_id"].unique()
    return generator.permutation(captions)[:size].tolist(), np.sort(generator.permutation(image_ids)[:size])


def write_matrices(texts: Encoded, images: Encoded, params: LocalParams, folder: Path, prefix: str) -> None:
    """Write `<prefix>global.npy` and, with a local similarity, `<prefix>local.npy`, as memory maps."""
    values = similarity.global_similarity(texts.features.pooled, images.features.pooled).numpy()
    _write(matrix_file(folder, GLOBAL, prefix), values, texts.row)
    if params.loss:
        padding = texts.features.padding.numpy() if params.mask_padding else None
        tokens = texts.features.tokens.numpy(), images.features.tokens.numpy()
        similarity.write_local_similarity(values, *tokens, padding, params.precision)
        _write(matrix_file(folder, LOCAL, prefix), values, texts.row)


def _write(path: Path, distinct: np.ndarray, row: np.ndarray) -> None:
    out = np.lib.format.open_memmap(path, "w+", np.float32, (len(row), distinct.shape[1]))
    for start in range(0, len(row), BLOCK):
        out[start : start + BLOCK] = distinct[row[start : start + BLOCK]]
    out.flush()
