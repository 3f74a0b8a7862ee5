"""Reading params.yaml."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from iebaker.config.checks import check_all
from iebaker.config.declarations import NAME
from iebaker.errors import IebakerError
from iebaker.layout import PARAMS

MOST_BYTES = 2**20
MOST_VALUES = 100_000  # with every alias written out


def load_params(path: Path = PARAMS) -> dict[str, Any]:
    """params.yaml as plain data, checked as a whole.

    Raises:
        IebakerError: if it is missing, no YAML, or selects what it does not define.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise IebakerError(f"{path}: not there; run this in the project's folder") from error
    if len(content) > MOST_BYTES:
        raise IebakerError(f"{path}: more than {MOST_BYTES} bytes; params.yaml holds parameters, not data")
    try:
        text = content.decode("utf-8")
        problem = next(_yaml_problems(yaml.compose(text, yaml.SafeLoader)), "")
        values: Any = None if problem else yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise IebakerError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    except ValueError as error:  # what looks like a number or a date and is none
        raise IebakerError(f"{path} cannot be read: {error}") from error
    if problem:
        raise IebakerError(f"{path} cannot be used: {problem}")
    return check_all(values)


def _yaml_problems(root: yaml.Node | None) -> Iterator[str]:
    """Aliases that grow beyond all measure or lead in circles, and keys that are there twice, which DVC refuses."""
    sizes: dict[int, int] = {}

    def size_of(node: yaml.Node | None) -> int:
        if not isinstance(node, yaml.CollectionNode):
            return 1
        if id(node) not in sizes:
            sizes[id(node)] = MOST_VALUES + 1  # met again within itself
            pairs = isinstance(node, yaml.MappingNode)
            inner = [part for pair in node.value for part in pair] if pairs else node.value
            sizes[id(node)] = 1 + sum(map(size_of, inner))
        return sizes[id(node)]

    if size_of(root) > MOST_VALUES:
        yield f"its aliases (*name) make more than {MOST_VALUES} values of it, or lead in circles; write values out"
    pending, seen = [root], set()
    while pending:
        node = pending.pop()
        if not isinstance(node, yaml.CollectionNode) or id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            yield from (
                f"line {node.start_mark.line + 1}: {name!r} is there twice; name each key once"
                for name in names
                if names.count(name) > 1
            )
        pending += [part for pair in node.value for part in (pair if isinstance(pair, tuple) else (pair,))]


def check_name(name: str) -> str:
    """`name`, if it can be that of a file or folder and of nothing else."""
    if not re.fullmatch(NAME, name):
        raise IebakerError(f"{name!r} is no name; use letters, digits, _, - and .")
    return name
