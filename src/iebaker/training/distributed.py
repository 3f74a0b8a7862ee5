"""Several processes as one training: torchrun starts them, each takes an equal share of every batch.

A launcher of several machines sets the variables that torchrun sets (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and
MASTER_PORT); then this process takes part in its training instead of starting one.
"""

import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta

import torch
from torch import Tensor, distributed

from iebaker.errors import IebakerError
from iebaker.method.gather import processes, rank

# the others wait while the first one validates, or reads what frozen trunks give
PATIENCE = timedelta(hours=2)


def start(count: int, script: str, words: Sequence[str]) -> None:
    """Become torchrun of `count` processes of a script, unless one is enough or a launcher has started this one."""
    if count == 1 or "RANK" in os.environ:
        return
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}"]
    # in this process's place: who ends it ends them all
    os.execv(sys.executable, [*launcher, script, *words])  # noqa: S606  no shell is wanted


@contextmanager
def together(count: int, device: str) -> Iterator[None]:
    """Take part in a training of `count` processes; nothing to do for one.

    Args:
        count: `train.processes`.
        device: `train.device`; the accelerator is the one of this process's number on its machine.

    Raises:
        IebakerError: if a launcher has started another number, or none.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started != count:
        raise IebakerError(
            f"train.processes={count}, and this is one of {started}; start as many (torchrun sets WORLD_SIZE), or set "
            f"train.processes={started}"
        )
    if count == 1:
        yield
        return
    accelerated = device != "cpu" and torch.cuda.is_available()
    if accelerated:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # open_clip gathers by a function that newer releases of torch would replace
    warnings.filterwarnings("ignore", "torch.distributed.nn", FutureWarning)
    distributed.init_process_group("nccl" if accelerated else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


@contextmanager
def first_alone() -> Iterator[None]:
    """The first process goes through this block alone; the others follow when it is done."""
    if rank() > 0:
        distributed.barrier()
    yield
    if processes() > 1 and rank() == 0:
        distributed.barrier()


def mean(values: Tensor) -> Tensor:
    """Over the processes."""
    if processes() > 1:
        distributed.all_reduce(values)
        values /= processes()
    return values


def agree(epoch: int) -> None:
    """Refuse to go on from different epochs.

    Raises:
        IebakerError: if the processes don't see the same checkpoint.
    """
    if processes() == 1:
        return
    epochs: list[int | None] = [None] * processes()
    distributed.all_gather_object(epochs, epoch)
    if len(set(epochs)) > 1:
        raise IebakerError(
            f"the processes found checkpoints after {epochs} epochs; data/resume must be one folder for all machines"
        )
