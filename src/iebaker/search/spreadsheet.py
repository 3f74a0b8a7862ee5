"""Tables that a spreadsheet opens."""

from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what one begins with


def as_cell(value: Any) -> Any:
    """A value as a table's cell: text that a spreadsheet would take for a formula gets an apostrophe before it."""
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
