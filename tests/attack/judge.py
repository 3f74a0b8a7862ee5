"""What an attack may lead to: it works, or it is refused in a few lines; never a traceback, a hang, or much memory."""

import os
import pickle
import resource
import select
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from iebaker.errors import explained

SECONDS = 90  # a shared machine stalls; what hangs, hangs for ever
MEMORY = 1 << 30  # bytes beyond what the process had before
LINES, CHARACTERS = 12, 3000


@dataclass(frozen=True)
class Case:
    """One attack.

    Attributes:
        name: shown by pytest.
        act: what the user does; it runs in a process of its own.
        expected: "done", "refused", or "either", where both are sound.
    """

    name: str
    act: Callable[[], Any]
    expected: str = "either"


def judge(case: Case) -> None:
    """Run it in a child process; AssertionError if it ends in another way than it may."""
    kind, said = _in_child(case.act)
    assert kind in ("done", "refused"), f"{case.name}: {kind}\n{said}"
    assert case.expected in ("either", kind), f"{case.name}: {kind}, expected {case.expected}\n{said}"
    if kind == "refused":
        assert said.strip() and len(said) <= CHARACTERS and said.count("\n") < LINES, f"{case.name}: {said[:9000]}"


def _in_child(act: Callable[[], Any]) -> tuple[str, str]:
    reading, writing = os.pipe()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            found = _verdict(act)
        except BaseException as error:  # nothing may leave the child
            found = ("crash", repr(error))
        with os.fdopen(writing, "wb") as stream:
            stream.write(pickle.dumps(found))
        os._exit(0)
    os.close(writing)
    content, ready = b"", True
    with os.fdopen(reading, "rb") as stream:
        if ready := bool(select.select([stream], [], [], SECONDS)[0]):
            content = stream.read()
        else:
            os.kill(child, signal.SIGKILL)
    _, status, used = os.wait4(child, 0)
    if not ready:
        return "hang", f"no answer after {SECONDS} s"
    if not content:
        return "crash", f"wait status {status}"
    if used.ru_maxrss * 1024 - before > MEMORY:
        return "memory", f"{used.ru_maxrss / 1024:.0f} MiB"
    return pickle.loads(content)


def _verdict(act: Callable[[], Any]) -> tuple[str, str]:
    try:
        act()
    except Exception as error:
        import traceback

        message = explained(error)
        return ("refused", message) if message is not None else ("traceback", traceback.format_exc()[-4000:])
    return "done", ""
