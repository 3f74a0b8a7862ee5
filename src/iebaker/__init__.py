"""iEBAKER: eliminate before align, keyword explicit reasoning and sort after reversed retrieval."""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["load"]

# imported when it is asked for: torch takes seconds that no command should spend without need
_HOME = {"load": "iebaker.model.inference"}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)
