"""What every stage shares: where things lie, how parameters are read, how errors are shown."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

import iebaker

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
    """params.yaml as plain data."""
    return yaml.safe_load(Path("params.yaml").read_text())


@contextmanager
def errors_for_people() -> Iterator[None]:
    """Errors that say what to do end a stage with their message alone; anything else keeps its traceback."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if Path(raised_in).is_relative_to(Path(iebaker.__file__).parent):
            sys.exit(f"{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}: {error}")
        raise
