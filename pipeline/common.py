"""What every stage shares: params.yaml, and how errors are shown."""

import inspect
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from iebaker.errors import explained
from iebaker.process import settle

settle()
if Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parent:
    # until `run`: an interrupt ends the imports of a stage, which would swallow it or show their traceback
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def load_params() -> dict[str, Any]:
    """params.yaml as plain data, checked as a whole.

    Raises:
        IebakerError: if it is missing, no YAML, or selects what it does not define.
    """
    from iebaker.project import parameters  # takes half a second, in which an interrupt may come

    return parameters.load_params()


def run(main: Callable[..., None]) -> None:
    """Run a script with what the command line says, in order or, as DVC writes it, as `--name value` each.

    An IebakerError says what to do, the system's own errors name a file, and memory has an end: these end it with the
    message alone. Any other error keeps its traceback.
    """
    words = sys.argv[1:]
    command = " ".join([Path(sys.argv[0]).name, *words])
    named = {}
    try:
        if words and words[0].startswith("--"):
            pairs = zip(words[::2], words[1::2], strict=True)
            named, words = {key.removeprefix("--"): value for key, value in pairs}, []
        inspect.signature(main).bind(*words, **named)
    except (TypeError, ValueError):
        sys.exit(f"{command}: wrong arguments. {sys.modules['__main__'].__doc__}")
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        main(*words, **named)
    except KeyboardInterrupt:
        sys.exit(f"{command}: interrupted; what was finished is kept")
    except Exception as error:
        if message := explained(error):
            sys.exit(f"{command}: {message}")
        raise
