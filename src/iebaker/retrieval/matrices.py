"""Names of the similarity matrices on disk, and opening them."""

from pathlib import Path

import numpy as np

from iebaker.errors import IebakerError

GLOBAL, LOCAL = "global", "local"
EVALUATION_SPLITS = ("val", "test")
# matrices of one split: texts x images, training texts x images, texts x training images
EVALUATION, BANK_TEXTS, BANK_IMAGES = "", "bank_texts_", "bank_images_"


def matrix_file(folder: Path, kind: str, prefix: str) -> Path:
    """Where the matrix of one kind and one set of queries lies."""
    return folder / f"{prefix}{kind}.npy"


def open_matrix(folder: Path, kind: str, prefix: str = EVALUATION) -> np.ndarray | None:
    """A memory-mapped matrix of `export.export_split`; None for one that was not trained or not asked for.

    Args:
        kind: GLOBAL or LOCAL.
        prefix: EVALUATION, BANK_TEXTS or BANK_IMAGES.

    Raises:
        IebakerError: if the folder has no global similarities of the split itself.
    """
    path = matrix_file(folder, kind, prefix)
    if path.exists():
        matrix: np.ndarray = np.load(path, mmap_mode="r")
        return matrix
    if kind == GLOBAL and prefix == EVALUATION:
        raise IebakerError(f"{path} is missing; run `dvc repro export_similarity`")
    return None
