"""Conditions on an archive's columns, "sensor == 'S2' and datetime >= '2024-06-01'": compared, never executed.

One reading serves two engines, pyarrow and LanceDB: both build expressions of columns by Python's operators.
"""

import ast
from collections.abc import Callable
from datetime import UTC, datetime
from functools import reduce
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from iebaker.errors import IebakerError
from iebaker.search.items import Box
from iebaker.search.shards import BOX, split_at_antimeridian

Column = Callable[[str], Any]  # a column of an engine by its name; the edges of a box are xmin, ymin, xmax, ymax
COLUMNS = ("id", "href", "datetime", "sensor", "gsd")
HINT = f"compare {', '.join(COLUMNS)} by ==, !=, <, <=, >, >= or in (...), joined by and, or, not"
COMPARISONS = {
    ast.Eq: "__eq__",
    ast.NotEq: "__ne__",
    ast.Lt: "__lt__",
    ast.LtE: "__le__",
    ast.Gt: "__gt__",
    ast.GtE: "__ge__",
}


def matching(table: pa.Table, condition: str | None = None, box: Box | None = None) -> np.ndarray | None:
    """(M,) rows that fulfil the condition and touch the box, ascending; None for all.

    Raises:
        IebakerError: if the condition cannot be understood, or the box is none.
    """
    expression = filter_of(condition, box, arrow_column)
    if expression is None:
        return None
    numbered = table.append_column("row", pa.array(np.arange(len(table))))
    return np.asarray(numbered.filter(expression)["row"].to_numpy())


def arrow_column(name: str) -> pc.Expression:
    """A column of `shards.COLUMNS`, or an edge of its box."""
    return pc.field("bbox", name) if name in BOX.names else pc.field(name)


def filter_of(condition: str | None, box: Box | None, column: Column) -> Any:
    """Condition and box as one expression of an engine; None for neither.

    Raises:
        IebakerError: if the condition cannot be understood, or the box is none.
    """
    wanted = [parse(condition, column)] if condition else []
    if box:
        wanted.append(touching(box, column))
    return reduce(lambda one, other: one & other, wanted) if wanted else None


def parse(condition: str, column: Column) -> Any:
    """The condition as an expression of an engine.

    Raises:
        IebakerError: for anything but comparisons of columns with values.
    """
    try:
        return _boolean(ast.parse(condition.strip(), mode="eval").body, column)
    except (SyntaxError, ValueError) as error:
        problem = error.msg if isinstance(error, SyntaxError) else error
        raise IebakerError(f"--where {condition!r}: {problem}; {HINT}") from error


def touching(box: Box, column: Column) -> Any:
    """Rows whose bounding box meets `box`; either may cross the antimeridian.

    Raises:
        IebakerError: if it is no box in degrees.
    """
    west, south, east, north = box
    if not (-180 <= west <= 180 and -180 <= east <= 180 and -90 <= south <= north <= 90):
        raise IebakerError(f"--bbox {box}: give west,south,east,north in degrees; west > east crosses the antimeridian")
    edge = {name: column(name) for name in BOX.names}
    crosses = edge["xmin"] > edge["xmax"]
    parts = []
    for left, bottom, right, top in split_at_antimeridian(box):
        plain = (edge["xmax"] >= left) & (edge["xmin"] <= right)
        around = (edge["xmax"] >= left) | (edge["xmin"] <= right)
        longitude = (~crosses & plain) | (crosses & around)
        parts.append(longitude & (edge["ymax"] >= bottom) & (edge["ymin"] <= top))
    return parts[0] if len(parts) == 1 else parts[0] | parts[1]


def _boolean(node: ast.expr, column: Column) -> Any:
    if isinstance(node, ast.BoolOp):
        parts = [_boolean(value, column) for value in node.values]
        both = isinstance(node.op, ast.And)
        return reduce(lambda one, other: one & other if both else one | other, parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return ~_boolean(node.operand, column)
    if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.left, ast.Name):
        name, operator = node.left.id, type(node.ops[0])
        if name not in COLUMNS:
            raise ValueError(f"there is no column {name}")
        value = _value(name, node.comparators[0])
        if operator in COMPARISONS and not isinstance(value, list):
            return getattr(column(name), COMPARISONS[operator])(value)
        if operator in (ast.In, ast.NotIn) and isinstance(value, list) and value:
            # no isin(): engines differ in what it says of nulls
            found = reduce(lambda one, other: one | other, [column(name) == one for one in value])
            return found if operator is ast.In else ~found
    raise ValueError(f"{ast.unparse(node)!r} is no comparison of a column with a value")


def _value(name: str, node: ast.expr) -> Any:
    value = ast.literal_eval(node)
    if isinstance(value, tuple | list):
        return [_typed(name, one) for one in value]
    return _typed(name, value)


def _typed(name: str, value: Any) -> Any:
    if name == "gsd":
        return float(value)
    if not isinstance(value, str):
        raise ValueError(f"{name} is text, so write {str(value)!r} in quotes")
    if name != "datetime":
        return value
    time = datetime.fromisoformat(value)
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time
