"""Reading params.yaml."""

import re
from pathlib import Path
from typing import Any

import yaml

from iebaker.config.checks import check_all
from iebaker.config.declarations import NAME
from iebaker.errors import IebakerError
from iebaker.layout import PARAMS


def load_params(path: Path = PARAMS) -> dict[str, Any]:
    """params.yaml as plain data, checked as a whole.

    Raises:
        IebakerError: if it is missing, no YAML, or selects what it does not define.
    """
    try:
        return check_all(yaml.safe_load(path.read_text(encoding="utf-8")))
    except FileNotFoundError as error:
        raise IebakerError(f"{path}: not there; run this in the project's folder") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise IebakerError(f"{path} cannot be read: {error}") from error


def check_name(name: str) -> str:
    """`name`, if it can be that of a file or folder and of nothing else."""
    if not re.fullmatch(NAME, name):
        raise IebakerError(f"{name!r} is no name; use letters, digits, _, - and .")
    return name
