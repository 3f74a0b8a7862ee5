"""The `iebaker` command: evaluate and re-rank anybody's similarity matrices, and look at the environment."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
import yaml

from iebaker import rerank as sar
from iebaker.metrics.recall import require_numbers
from iebaker.metrics.summary import Split
from iebaker.params import SarParams, parse
from iebaker.rerank.selection import DIRECTIONS, HYPER_PARAMETERS, standard_deviation

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Remote-sensing image-text retrieval, evaluated.")
SCALES_ALIKE = 3  # ratio of standard deviations; another model's matrix differs by more
Method = StrEnum("Method", ["auto", *HYPER_PARAMETERS])

CaptionsPerImage = Annotated[
    int, typer.Option(min=1, help="rows 0..c-1 belong to column 0, the next c to column 1, ...")
]
BankFile = Annotated[Path | None, typer.Option(help="similarities to training queries, for querybank")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="hyper-parameter of a fixed method, as in params.yaml's sar"),
]


@app.command()
def evaluate(
    scores: Annotated[Path, typer.Option(help=".npy matrix, texts x images")],
    captions_per_image: CaptionsPerImage = 5,
    captions: Annotated[
        Path | None, typer.Option(help="text file, one caption a line: lenient numbers, ceiling")
    ] = None,
) -> None:
    """Print recalls and mR with 95% intervals of a similarity matrix, as JSON."""
    with errors_for_people("evaluate"):
        matrix = load_scores(scores, captions_per_image)
        split = Split(_image_of_text(matrix, captions_per_image), captions and load_captions(captions, len(matrix)))
        measured = split.measure("plain", matrix, matrix)
        _print(split.summary({name: [hits] for name, hits in measured.items()}))


@app.command()
def rerank(
    val: Annotated[Path, typer.Option(help=".npy matrix of validation, texts x images: decides how to re-rank")],
    test: Annotated[Path, typer.Option(help=".npy matrix of test, texts x images")],
    captions_per_image: CaptionsPerImage = 5,
    method: Annotated[Method, typer.Option(help="auto: chosen per direction on validation")] = Method.auto,
    settings: Settings = None,
    bank_val_texts: BankFile = None,
    bank_val_images: BankFile = None,
    bank_test_texts: BankFile = None,
    bank_test_images: BankFile = None,
) -> None:
    """Re-rank by reverse retrieval (SAR), chosen on validation, and print recalls before and after, as JSON.

    Bank files, all or none: --bank-*-texts are training texts x evaluation images, --bank-*-images evaluation texts x
    training images, each for val and test.
    """
    with errors_for_people("rerank"):
        params = sar_params(method.value, settings or [])
        files = (bank_val_texts, bank_val_images, bank_test_texts, bank_test_images)
        matrices = {
            name: load_scores(path, captions_per_image, finite=True) for name, path in (("val", val), ("test", test))
        }
        check_test(matrices, val, test)
        banks = {name: _bank(*of, files, matrices[name]) for name, of in (("val", files[:2]), ("test", files[2:]))}
        image_of_text = _image_of_text(matrices["val"], captions_per_image)
        selection = sar.select(matrices["val"], image_of_text, params, banks["val"])
        result: dict[str, Any] = {}
        for name, matrix in matrices.items():
            split = Split(_image_of_text(matrix, captions_per_image))
            moved = {one: sar.apply(selection.choices[one], matrix, one, banks[name]) for one in DIRECTIONS}
            measured = {**split.measure("plain", matrix, matrix), **split.measure("sar", **moved)}
            result[name] = split.summary({key: [hits] for key, hits in measured.items()})
        result["chosen"] = {one: choice.as_dict() for one, choice in selection.choices.items()}
        result["transductive"] = selection.transductive
        _print(result)


@app.command()
def doctor() -> None:
    """Print versions, device, and what is wrong with the environment."""
    from iebaker.doctor import report  # imports torch: seconds that the other commands don't need

    raise typer.Exit(report(sys.stdout))


@contextmanager
def errors_for_people(command: str) -> Iterator[None]:
    """Turn what is wrong with the input into one line on stderr and exit code 2."""
    try:
        yield
    except (ValueError, OSError) as error:
        typer.echo(f"iebaker {command}: {error}", err=True)
        raise typer.Exit(2) from error


def load_matrix(path: Path) -> np.ndarray:
    """A memory-mapped numeric (rows, columns) matrix; never unpickles.

    Raises:
        ValueError: if the file is missing, not .npy, not numeric or not two-dimensional.
    """
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        raise ValueError(f"{path}: {what}; give a matrix that was written by numpy.save")
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise ValueError(f"{path}: not a plain .npy file (pickled objects are refused)") from error
    if not isinstance(matrix, np.ndarray):
        raise ValueError(f"{path}: an archive of arrays; save the one matrix with numpy.save")
    if matrix.dtype.kind not in "fiu":
        raise ValueError(f"{path}: holds {matrix.dtype}, not real numbers; save similarities as float16 or float32")
    if matrix.ndim != 2 or not matrix.size:
        raise ValueError(f"{path}: has shape {matrix.shape}, expected two dimensions, texts x images")
    return matrix


def load_scores(path: Path, captions_per_image: int, finite: bool = False) -> np.ndarray:
    """A memory-mapped (N_text, N_image) matrix with `captions_per_image` rows a column.

    Raises:
        ValueError: as `load_matrix`, or if the shape does not fit or an entry is NaN, with `finite` also infinite.
    """
    matrix = load_matrix(path)
    rows, columns = matrix.shape
    if rows != columns * captions_per_image:
        hint = f"expected {columns} x {captions_per_image} = {columns * captions_per_image} rows, texts x images"
        if columns == rows * captions_per_image:
            hint = "it looks transposed, images x texts: save its transpose, texts x images"
        elif rows % columns == 0:
            hint += f"; --captions-per-image {rows // columns} would fit"
        raise ValueError(f"{path}: has shape {matrix.shape} with --captions-per-image {captions_per_image}; {hint}")
    return _numbers(path, matrix, finite)


def check_test(matrices: dict[str, np.ndarray], val: Path, test: Path) -> None:
    """Warn of scores on another scale than validation's, which is the unit of the hyper-parameters.

    Raises:
        ValueError: if test is validation: what was chosen on it would be measured on it.
    """
    if matrices["val"].shape == matrices["test"].shape and np.array_equal(matrices["val"], matrices["test"]):
        raise ValueError(f"{test}: the same matrix as {val}; re-ranking is chosen on one and measured on another")
    deviations = {name: standard_deviation(matrix) for name, matrix in matrices.items()}
    low, high = sorted(deviations.values())
    if high > SCALES_ALIKE * low:
        typer.echo(
            f"iebaker rerank: warning: the scores' standard deviation is {deviations['val']:.3g} on val and "
            f"{deviations['test']:.3g} on test; were both written by the same model and scale?",
            err=True,
        )


def sar_params(method: str, settings: list[str]) -> SarParams:
    """The section `sar` with a method and its hyper-parameters, each "key=value".

    Raises:
        ValueError: if the method has no such hyper-parameter, or it cannot have that value.
    """
    values = {}
    for setting in settings:
        key, given, value = setting.partition("=")
        allowed = HYPER_PARAMETERS.get(method, ())
        if not given or key not in allowed:
            takes = ", ".join(f"{name}=..." for name in allowed) or "nothing: it has no hyper-parameters to be fixed"
            raise ValueError(f"--set {setting}: --method {method} takes {takes}")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ValueError(f"--set {setting}: {value!r} is no value") from error
    return parse(SarParams, {"method": method, **values}, "sar")


def load_captions(path: Path, texts: int) -> list[str]:
    """One stripped caption a line, as many as `texts`.

    Raises:
        ValueError: if the file is missing, not UTF-8, has another number of lines, or a blank one.
    """
    if not path.is_file():
        raise ValueError(f"{path}: no such file; give a text file with one caption a line")
    try:
        lines = path.read_text(encoding="utf-8-sig").removesuffix("\n").split("\n")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text: {error}") from error
    if len(lines) != texts:
        raise ValueError(f"{path}: {len(lines)} lines for {texts} rows of the matrix; one caption a line, in row order")
    captions = [line.strip() for line in lines]
    if not all(captions):
        raise ValueError(f"{path}: line {captions.index('') + 1} is blank; a caption a line, in row order")
    return captions


def _bank(
    texts: Path | None, images: Path | None, files: tuple[Path | None, ...], scores: np.ndarray
) -> sar.Bank | None:
    if all(file is None for file in files):
        return None
    if any(file is None for file in files):
        raise ValueError(
            "a bank needs all four of --bank-val-texts, --bank-val-images, --bank-test-texts and --bank-test-images"
        )
    loaded = [_numbers(path, load_matrix(path), finite=True) for path in (texts, images)]
    for path, bank, side in zip((texts, images), loaded, (1, 0), strict=True):
        if bank.shape[side] != scores.shape[side]:
            unit = ("texts", "images")[side]
            hint = "--bank-*-texts are training texts x images, --bank-*-images texts x training images"
            raise ValueError(f"{path}: has shape {bank.shape}, expected {scores.shape[side]} {unit}; {hint}")
    return sar.Bank(text_to_image=loaded[0], image_to_text=loaded[1])


def _numbers(path: Path, matrix: np.ndarray, finite: bool) -> np.ndarray:
    try:
        require_numbers(matrix, finite)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return matrix


def _image_of_text(matrix: np.ndarray, captions_per_image: int) -> np.ndarray:
    return np.arange(len(matrix)) // captions_per_image


def _print(values: Any) -> None:
    typer.echo(json.dumps(values, indent=2, allow_nan=False))
