"""Matrices and options that `iebaker evaluate` and `iebaker rerank` never expected, by their command lines."""

import json
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import CliRunner

from attack.judge import Case
from iebaker.cli import app
from iebaker.errors import IebakerError

IMAGES, CAPTIONS = 12, 5
METHODS = ("auto", "none", "sort", "weighted", "soft", "sinkhorn", "querybank")


def ordinary(seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    scores = generator.normal(size=(IMAGES * CAPTIONS, IMAGES))
    scores[np.arange(len(scores)), np.arange(len(scores)) // CAPTIONS] += 1
    return scores.astype(np.float32)


def with_value(value: float) -> np.ndarray:
    scores = ordinary()
    scores[7, 3] = value
    return scores


ODD: dict[str, Callable[[], Any]] = {
    "constant": lambda: np.ones((60, 12), np.float32),
    "zeros": lambda: np.zeros((60, 12)),
    "denormal": lambda: ordinary() * np.float32(1e-40),
    "denormal in double": lambda: ordinary().astype(float) * 1e-310,
    "huge": lambda: ordinary().astype(float) * 1e300,
    "large": lambda: ordinary() * np.float32(1e36),
    "half": lambda: ordinary().astype(np.float16),
    "integers": lambda: (ordinary() * 10).astype(np.int8),
    "unsigned": lambda: np.uint64(2**64 - 1) - np.arange(720, dtype=np.uint64).reshape(60, 12),
    "ties": lambda: np.sign(ordinary()),
    "nan": lambda: with_value(np.nan),
    "infinite": lambda: with_value(np.inf),
    "minus infinite": lambda: with_value(-np.inf),
    "one outlier": lambda: with_value(1e20),
    "negative": lambda: ordinary() - 100,
    "big endian": lambda: ordinary().astype(">f4"),
    "fortran": lambda: np.asfortranarray(ordinary()),
    "transposed": lambda: ordinary().T,
    "too few rows": lambda: ordinary()[:-1],
    "flat": lambda: ordinary().ravel(),
    "three dimensions": lambda: ordinary()[None],
    "empty": lambda: np.zeros((0, 0)),
    "complex": lambda: ordinary().astype(complex),
    "text": lambda: ordinary().astype(str),
    "objects": lambda: ordinary().astype(object),
    "booleans": lambda: ordinary() > 0,
    "dates": lambda: np.zeros((60, 12), "M8[s]"),
    "records": lambda: np.zeros((60, 12), [("a", "f4")]),
}
HEADER = b"\x93NUMPY\x01\x00\x76\x00"
LIE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (60, 999999999), }"
FILES = {
    "nothing": b"",
    "text": b"0.1,0.2\n",
    "magic alone": HEADER[:8],
    "a lie about its shape": HEADER + LIE.ljust(117) + b"\n",
    "code for a header": HEADER + b"__import__('os').system('touch attacked')".ljust(117) + b"\n",
    "pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0etouch attacked\x85R.",
    "zip": b"PK\x05\x06" + bytes(18),
}
SETTINGS = {
    "sort": ("candidates=true", "candidates=99999999999999999999", "candidates=0", "candidates=-1", "candidates=.nan",
             "candidates=null", "candidates=[1]", "candidates=1.5", "candidates", "=", "beta=1", "candidates=5"),
    "weighted": ("weight_forward=1e308", "weight_reverse=-1", "decay=1e308", "decay=.nan", "weight_forward=.inf",
                 "candidates=100000", "decay=0"),
    "soft": ("strength=1e300", "strength=.inf", "strength=.nan", "strength=-1", "beta=1e300", "beta=1e-300", "beta=0",
             "beta=true", "beta=.inf", "beta=[", "beta={a: 1}", "strength=0"),
    "sinkhorn": ("iterations=1000000000", "iterations=0", "iterations=2.5", "iterations=1e3", "beta=1e300",
    "iterations=30"),
}  # fmt: skip
COUNTS = ("0", "-1", "99999999999999999999", "9223372036854775807", "x", "nan", "1e3", "", "4", "60")


def cases() -> Iterator[Case]:
    """Odd matrices with every method, damaged files, settings, and counts."""
    for name, make in ODD.items():
        yield Case(f"evaluate {name}", partial(_evaluate, make))
        for method in METHODS if name in ("constant", "denormal", "huge", "ties", "one outlier") else ("auto", "soft"):
            yield Case(f"rerank {method}, val {name}", partial(_rerank, method, make, ordinary))
        yield Case(f"rerank sort, test {name}", partial(_rerank, "sort", partial(ordinary, 1), make))
    for name, content in FILES.items():
        yield Case(f"file {name}", partial(_evaluate, content), "refused")
    for method, settings in SETTINGS.items():
        for setting in settings:
            yield Case(
                f"{method} {setting}", partial(_rerank, method, ordinary, partial(ordinary, 1), "--set", setting)
            )
    for count in COUNTS:
        yield Case(f"captions {count}", partial(_evaluate, ordinary, "--captions-per-image", count), "refused")


def _evaluate(made: Callable[[], np.ndarray] | bytes, *more: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        _run("evaluate", "--scores", str(_write(Path(folder) / "scores.npy", made)), *more)


def _rerank(method: str, val: Callable[[], np.ndarray], test: Callable[[], np.ndarray], *more: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = [str(_write(Path(folder) / f"{name}.npy", made)) for name, made in (("val", val), ("test", test))]
        _run("rerank", "--val", files[0], "--test", files[1], "--method", method, *more)


def _write(path: Path, made: Callable[[], np.ndarray] | bytes) -> Path:
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        np.save(path, made(), allow_pickle=True)
    return path


def _run(*arguments: str) -> None:
    """The command; its refusal becomes an IebakerError, all else that is not right an AssertionError."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", RuntimeWarning)
        done = CliRunner().invoke(app, arguments)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert not Path("attacked").exists() and not warned, [str(one.message) for one in warned]
    if done.exit_code == 2:
        assert not done.stdout
        raise IebakerError(done.stderr)
    assert done.exit_code == 0, done.exit_code
    _check_numbers(json.loads(done.stdout))


def _check_numbers(value: Any) -> None:
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _check_numbers(inner)
    assert not isinstance(value, float) or math.isfinite(value)
