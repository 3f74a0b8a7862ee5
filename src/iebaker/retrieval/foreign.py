"""Similarity matrices and captions that somebody else made, checked before anything is computed from them."""

from pathlib import Path

import numpy as np
import yaml

from iebaker.config.params import SarParams, parse
from iebaker.errors import IebakerError
from iebaker.metrics.recall import require_numbers
from iebaker.retrieval.rerank.selection import HYPER_PARAMETERS, BankScores, standard_deviation

# GaLR's first setting; one standard deviation for the members without a published value
PUBLISHED = {
    "candidates": 30,
    "bank_size": 0,
    "weight_forward": 1.0,
    "weight_reverse": 0.7,
    "decay": 0.05,
    "strength": 1.0,
    "beta": 2.0,
    "iterations": 20,
}
SCALES_ALIKE = 3  # ratio of standard deviations; another model's matrix differs by more


def load_matrix(path: Path) -> np.ndarray:
    """A memory-mapped numeric (rows, columns) matrix; never unpickles.

    Raises:
        IebakerError: if the file is missing, not .npy, not numeric or not two-dimensional.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise IebakerError(f"{path}: {what}; give a matrix that was written by numpy.save")
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise IebakerError(f"{path}: not a plain .npy file (pickled objects are refused)") from error
    if not isinstance(matrix, np.ndarray):
        raise IebakerError(f"{path}: an archive of arrays; save the one matrix with numpy.save")
    if matrix.dtype.kind not in "fiu":
        raise IebakerError(f"{path}: holds {matrix.dtype}, not real numbers; save similarities as float16 or float32")
    if matrix.ndim != 2 or not matrix.size:
        raise IebakerError(f"{path}: has shape {matrix.shape}, expected two dimensions, texts x images")
    return matrix


def load_scores(path: Path, captions_per_image: int, finite: bool = False) -> np.ndarray:
    """A memory-mapped (N_text, N_image) matrix with `captions_per_image` rows a column.

    Raises:
        IebakerError: as `load_matrix`, or if the shape does not fit or an entry is NaN, with `finite` also infinite.
    """
    matrix = load_matrix(path)
    rows, columns = matrix.shape
    if rows != columns * captions_per_image:
        hint = f"expected {columns} x {captions_per_image} = {columns * captions_per_image} rows, texts x images"
        if columns == rows * captions_per_image:
            hint = "it looks transposed, images x texts: save its transpose, texts x images"
        elif rows % columns == 0:
            hint += f"; --captions-per-image {rows // columns} would fit"
        raise IebakerError(f"{path}: has shape {matrix.shape} with --captions-per-image {captions_per_image}; {hint}")
    return _numbers(path, matrix, finite)


def check_test(matrices: dict[str, np.ndarray], val: Path, test: Path) -> str:
    """A warning of scores on another scale than validation's, which is the unit of the hyper-parameters; or "".

    Raises:
        IebakerError: if test is validation: what was chosen on it would be measured on it.
    """
    if matrices["val"].shape == matrices["test"].shape and np.array_equal(matrices["val"], matrices["test"]):
        raise IebakerError(f"{test}: the same matrix as {val}; re-ranking is chosen on one and measured on another")
    deviations = {name: standard_deviation(matrix) for name, matrix in matrices.items()}
    low, high = sorted(deviations.values())
    if high <= SCALES_ALIKE * low:
        return ""
    return (
        f"the scores' standard deviation is {deviations['val']:.3g} on val and {deviations['test']:.3g} on test; "
        "were both written by the same model and scale?"
    )


def load_captions(path: Path, texts: int) -> list[str]:
    """One stripped caption a line, as many as `texts`.

    Raises:
        IebakerError: if the file is missing, not UTF-8, has another number of lines, or a blank one.
    """
    if not path.is_file():
        raise IebakerError(f"{path}: no such file; give a text file with one caption a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise IebakerError(f"{path}: not UTF-8 text: {error}") from error
    if len(lines) != texts:
        raise IebakerError(
            f"{path}: {len(lines)} lines for {texts} rows of the matrix; one caption a line, in row order"
        )
    captions = [line.strip() for line in lines]
    if not all(captions):
        raise IebakerError(f"{path}: line {captions.index('') + 1} is blank; a caption a line, in row order")
    return captions


def load_bank(
    texts: Path | None, images: Path | None, files: tuple[Path | None, ...], scores: np.ndarray
) -> BankScores | None:
    """Similarities to training queries for one split; None without files.

    Args:
        texts: training texts x evaluation images.
        images: evaluation texts x training images.
        files: those of all splits.
        scores: (N_text, N_image) of the split.

    Raises:
        IebakerError: if only some files are given, or a shape does not fit.
    """
    if all(file is None for file in files):
        return None
    if texts is None or images is None or any(file is None for file in files):
        raise IebakerError(
            "a bank needs all four of --bank-val-texts, --bank-val-images, --bank-test-texts and --bank-test-images"
        )
    loaded = [_numbers(path, load_matrix(path), finite=True) for path in (texts, images)]
    for path, bank, side in zip((texts, images), loaded, (1, 0), strict=True):
        if bank.shape[side] != scores.shape[side]:
            unit = ("texts", "images")[side]
            hint = "--bank-*-texts are training texts x images, --bank-*-images texts x training images"
            raise IebakerError(f"{path}: has shape {bank.shape}, expected {scores.shape[side]} {unit}; {hint}")
    return BankScores(text_to_image=loaded[0], image_to_text=loaded[1])


def _numbers(path: Path, matrix: np.ndarray, finite: bool) -> np.ndarray:
    try:
        require_numbers(matrix, finite)
    except ValueError as error:
        raise IebakerError(f"{path}: {error}") from error
    return matrix


def image_of_text_of(matrix: np.ndarray, captions_per_image: int) -> np.ndarray:
    """(N_text,) column of each row's own image."""
    return np.arange(len(matrix)) // captions_per_image


def sar_params(method: str, settings: list[str]) -> SarParams:
    """The section `sar` with a method and its hyper-parameters, each "key=value".

    Raises:
        IebakerError: if the method has no such hyper-parameter, or it cannot have that value.
    """
    values = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        allowed = HYPER_PARAMETERS.get(method, ())
        if not given or key not in allowed:
            takes = ", ".join(f"{name}=..." for name in allowed) or "nothing: it has no hyper-parameters to be fixed"
            raise IebakerError(f"--set {setting}: --method {method} takes {takes}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise IebakerError(f"--set {setting}: {value!r} is no value") from error
    return parse(SarParams, {**PUBLISHED, "method": method, **values}, "sar")
