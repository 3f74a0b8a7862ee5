"""Whether what params.yaml selects can run on this machine at all: its device, and the least memory and disk it takes.

Every estimate is a lower bound, so that only what surely cannot fit is refused.
"""

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from iebaker.config.checks import CAPTIONS_PER_IMAGE
from iebaker.config.declarations import resolve
from iebaker.config.params import BenchmarkParams, SyntheticParams, TrainingConfig, parse
from iebaker.errors import IebakerError

SYNTHETIC = "synthetic"
FLOAT = 4  # bytes
LARGEST_ACCELERATOR = 2**40  # bytes; `auto` may find one


def check_machine(params: Mapping[str, Any], folder: Path = Path()) -> None:
    """Refuse what cannot run here.

    Args:
        params: params.yaml, checked.
        folder: on the disk that the results go to.

    Raises:
        IebakerError: naming keys, what is needed and what is there.
    """
    disk = shutil.disk_usage(folder).total
    for problem in _drawn(params, disk):
        raise IebakerError(f"params: {problem}")
    devices = set[str]()
    for corpus in params["corpora"]:
        for variant in params["variants"]:
            training, _ = resolve(params, corpus, variant)
            recipe = training.train
            devices.add(recipe.device)
            if recipe.processes > 1 and ":" in recipe.device:
                raise IebakerError(
                    f"params: train.processes={recipe.processes}: all of them on train.device={recipe.device!r}? Each "
                    f"takes an accelerator of its own; use train.device={recipe.device.split(':')[0]}"
                )
            for problem in _memory(training, most_pairs(params, corpus, training)):
                raise IebakerError(f"params: {corpus}/{variant}: {problem}")
    for device in sorted(devices - {"auto", "cpu"}):
        if problem := device_problem(device):
            raise IebakerError(f"params: train.device={device!r}: {problem}; use auto or cpu")


def most_pairs(params: Mapping[str, Any], corpus: str, training: TrainingConfig) -> int | None:
    """The most (image, caption) pairs that an epoch can have; None where only the data say."""
    members = params["corpus"][corpus]["benchmarks"]
    if any(params["benchmark"][name].get("source") != SYNTHETIC for name in members):
        return None
    images = parse(SyntheticParams, params[SYNTHETIC], SYNTHETIC).train * len(members)
    return images * (1 if training.train.pairs == "one_per_image" else CAPTIONS_PER_IMAGE)


def device_problem(device: str) -> str:
    """Why a device is not there, "" if it is or only the training can say; asks torch, which takes seconds."""
    import torch

    kind, _, index = device.partition(":")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        return f"torch finds {torch.cuda.device_count()} CUDA devices here"
    if kind == "mps" and not torch.backends.mps.is_available():
        return "torch finds no such device here"
    return ""


def total_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _drawn(params: Mapping[str, Any], disk: int) -> Iterator[str]:
    """What the drawn benchmark takes on disk: its pixels, and a matrix for each split that is evaluated."""
    sizes = parse(SyntheticParams, params[SYNTHETIC], SYNTHETIC)
    for name in params["benchmarks"]:
        data = parse(BenchmarkParams, params["benchmark"][name], f"benchmark.{name}")
        if data.source != SYNTHETIC:
            continue
        pixels = (sizes.train + sizes.val + sizes.test) * data.image_size**2 * 3
        matrices = FLOAT * CAPTIONS_PER_IMAGE * (sizes.val**2 + sizes.test**2)
        if pixels + matrices > disk:
            yield (
                f"synthetic.train, val, test: {sizes.train}, {sizes.val} and {sizes.test} images take at least "
                f"{_gb(pixels + matrices)}, this disk holds {_gb(disk)}; lower them, or benchmark.{name}.image_size"
            )


def _memory(training: TrainingConfig, pairs: int | None) -> Iterator[str]:
    recipe, eba = training.train, training.eba
    if pairs is not None and recipe.epochs and recipe.batch_size > pairs:
        yield f"train.batch_size={recipe.batch_size} exceeds the {pairs} pairs of an epoch; lower it"
    memory = total_memory()
    if memory is None:
        return
    # similarities of a batch, and their gradient
    batch = 2 * FLOAT * recipe.batch_size**2
    there = memory if recipe.device == "cpu" else max(memory, LARGEST_ACCELERATOR)
    if batch > there:
        yield f"train.batch_size={recipe.batch_size} takes at least {_gb(batch)} of memory; lower it"
    if eba and eba.bank == "reference" and isinstance(eba.bank_size, int) and FLOAT * eba.bank_size > memory:
        yield (
            f"eba.bank_size={eba.bank_size} takes at least {_gb(FLOAT * eba.bank_size)} of memory, this machine has "
            f"{_gb(memory)}; lower it"
        )


def _gb(count: int) -> str:
    return f"{count / 1e9:,.1f} GB"
