"""What every stage shares: params.yaml, and how errors are shown."""

import inspect
import sys
from collections.abc import Callable
from pathlib import Path

from iebaker.errors import IebakerError
from iebaker.layout import use_sleeping_threads
from iebaker.project.parameters import load_params

use_sleeping_threads()

__all__ = ["load_params", "run"]


def run(main: Callable[..., None]) -> None:
    """Run a script with what the command line says.

    An IebakerError says what to do, and the system's own errors name a file: both end it with the message alone. Any
    other error keeps its traceback.
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
    except (IebakerError, OSError) as error:
        sys.exit(f"{command}: {error}")
