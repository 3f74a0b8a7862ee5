"""Timing and memory of one piece of work, and what a benchmark says of it.

Times are CPU seconds of one thread, unless a row says otherwise, the least of several alternating runs: what others do
on the machine then weighs little, and ratios hold for any number of cores that both sides use equally well.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from iebaker.errors import IebakerError
from iebaker.process import settle

Result = TypeVar("Result")


@dataclass(frozen=True)
class Measurement:
    """One row of the table.

    Attributes:
        name: what was done, and its size.
        ours: CPU seconds of this code; by the clock where `name` says so.
        naive: of the published formulation.
        plain: of the obvious formulation, or of this code as it was before.
        bound: of the work that cannot be avoided.
        ours_peak: bytes of a process that does only this, libraries and inputs included; of an accelerator its own.
        naive_peak: the same of the published formulation.
        note: what else there is to know: what was timed on a part and scaled up, what could not be measured.
    """

    name: str
    ours: float
    naive: float | None = None
    plain: float | None = None
    bound: float | None = None
    ours_peak: int | None = None
    naive_peak: int | None = None
    note: str = ""


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of one run."""
    start = time.process_time()
    work()
    return time.process_time() - start


def clock_seconds(work: Callable[[], object]) -> float:
    """Seconds by the clock of one run with all cores."""
    import torch

    torch.set_num_threads(os.cpu_count() or 1)
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def least_seconds(repeats: int, **works: Callable[[], object]) -> dict[str, float]:
    """The least CPU seconds of each, over `repeats` rounds in which they take turns."""
    rounds = [{name: cpu_seconds(work) for name, work in works.items()} for _ in range(repeats)]
    return {name: min(times[name] for times in rounds) for name in works}


def in_child(work: Callable[..., Result], *arguments: Any) -> tuple[Result, int]:
    """What `work` returns in a fresh process of one thread, and the most memory that process held, in bytes.

    Args:
        work: a function of a module; arguments and result are pickled.

    Raises:
        IebakerError: if the process was ended from outside, as the system does where memory is short.
    """
    try:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=settle) as pool:
            return pool.submit(_with_peak, work, arguments).result()
    except BrokenProcessPool as error:
        what = " ".join(map(str, (work.__name__.strip("_"), *arguments)))
        raise IebakerError(
            f"{what}: its process was killed, perhaps for lack of memory; close other programs"
        ) from error


def _with_peak(work: Callable[..., Result], arguments: tuple[Any, ...]) -> tuple[Result, int]:
    import torch

    torch.set_num_threads(1)
    result = work(*arguments)
    # not getrusage: its maximum counts what the parent held before this program was loaded
    status = Path("/proc/self/status").read_text()
    kibibytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))
    return result, 1024 * int(kibibytes)
