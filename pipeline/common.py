"""What every stage shares: where things lie, how parameters are read, how errors are shown."""

import inspect
import os
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

import iebaker
from iebaker.declarations import NAME, check

# threads that wait should sleep: spinning ones bring a shared machine to a crawl (read when torch is first imported)
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

RAW = Path("data/raw")
PREPARED = Path("data/prepared")
KEYWORDS = Path("data/keywords")
CORPORA = Path("data/corpora")
CONFIG = Path("data/config")
MODELS = Path("data/models")
SIMILARITY = Path("data/similarity")
EVALUATION = Path("data/evaluation")
RESUME = Path("data/resume")
FEATURES = Path("data/features")
DOWNLOADS = Path("data/downloads")
LOGS = Path("data/logs")
METRICS = Path("reports/metrics")


def load_params() -> dict[str, Any]:
    """params.yaml as plain data, its selections checked."""
    try:
        return check(yaml.safe_load(Path("params.yaml").read_text()))
    except yaml.YAMLError as error:
        raise ValueError(f"params.yaml cannot be read: {error}") from error


def check_name(name: str) -> str:
    """`name`, if it can be that of a file or folder and of nothing else."""
    if not re.match(NAME, name):
        raise ValueError(f"{name!r} is no name; use letters, digits, _, - and .")
    return name


def write_text(path: Path, text: str) -> None:
    """Put a file in the place of `path`, which may be a hard link into DVC's cache: that one stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def run(main: Callable[..., None]) -> None:
    """A script, with what the command line says.

    What was raised on purpose says what to do, and ends it with the message alone; any other error keeps its traceback.
    """
    command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])
    try:
        inspect.signature(main).bind(*sys.argv[1:])
    except TypeError:
        sys.exit(f"{command}: wrong number of arguments. {sys.modules['__main__'].__doc__}")
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(f"{command}: interrupted; what was finished is kept")
    except (ValueError, OSError, RuntimeError) as error:
        raised = traceback.extract_tb(error.__traceback__)[-1]
        ours = any(Path(raised.filename).is_relative_to(place) for place in OURS)
        if ours and raised.line.startswith("raise "):
            sys.exit(f"{command}: {error}")
        raise


OURS = Path(iebaker.__file__).parent, Path(__file__).parent
