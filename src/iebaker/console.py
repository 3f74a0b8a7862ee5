"""How commands speak to people."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from iebaker.errors import explained


@contextmanager
def errors_for_people(command: str) -> Iterator[None]:
    """Turn what is wrong with the input into one line on stderr and exit code 2."""
    try:
        yield
    except Exception as error:
        if message := explained(error):
            typer.echo(f"iebaker {command}: {message}", err=True)
            raise typer.Exit(2) from error
        raise
