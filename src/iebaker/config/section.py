"""What every section of params.yaml is, and its numbers."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number is wanted, not true or false")
    return value


# YAML's booleans are Python's integers 0 and 1
Number = Annotated[float, BeforeValidator(_no_boolean)]
Count = Annotated[int, BeforeValidator(_no_boolean)]
Orientations = Annotated[Literal[1, 2, 4, 8], BeforeValidator(_no_boolean)]


class Section(BaseModel):
    """A section of params.yaml: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)
