"""Training steps on ViT-B-32 where there is an accelerator: pairs a second, beside plain CLIP and the towers alone.

Seconds are by the clock, the mean of several steps after some that are not timed; memory is the accelerator's. Feeding,
clipping of gradients and validation are left out.
"""

import sys
import time
from collections.abc import Iterator

import torch
from tqdm import tqdm

from iebaker.bench import step
from iebaker.bench.measure import Measurement, in_child
from iebaker.errors import IebakerError

BATCHES = (100, 400)  # pairs: the published batch, and a large one
PRECISION = "bfloat16"
UNTIMED = 3  # steps in which kernels are chosen and memory is set aside
PUBLISHED_PAIRS = 7 * 5 * (8734 + 4291 + 25_200)  # seen by the paper's training: 7 epochs of RSICD, RSITMD and NWPU


def rows(
    device: str | None = None, batches: tuple[int, ...] = BATCHES, steps: int = 10, **model: str
) -> Iterator[Measurement]:
    """A row for each batch size that fits; none without an accelerator.

    Args:
        device: what to measure; the accelerator unless given.
        batches: pairs of a step.
        steps: that are timed.
        model: overrides of the published model.
    """
    device = device or ("cuda" if torch.cuda.is_available() else None)
    for count in batches if device else ():
        try:
            (ours, peak), (plain, _), (bound, _) = (
                in_child(_seconds, which, count, device, steps, model)[0] for which in ("ours", "plain", "bound")
            )
        except (torch.OutOfMemoryError, IebakerError) as error:
            tqdm.write(f"{count} pairs are not measured: {str(error).splitlines()[0]}", file=sys.stderr)
            continue
        rate = count / ours
        hours = PUBLISHED_PAIRS / rate / 3600
        note = f"{rate:.0f} pairs a second; as many as the paper's training saw take {hours:.2g} h of such steps"
        name = f"training step on the accelerator, ViT-B-32, {count} pairs, {PRECISION}, by the clock"
        yield Measurement(name, ours, plain=plain, bound=bound, ours_peak=peak, note=note)


def _seconds(which: str, count: int, name: str, steps: int, model: dict[str, str]) -> tuple[float, int | None]:
    """Seconds of one step, and the most memory that the accelerator held; `which` of step.works."""
    device = torch.device(name)
    config = step.published_config(**model)
    # groups of captions by length save padding, but make more and smaller kernels
    recipe = config.train.model_copy(update={"precision": PRECISION, "length_groups": 1})
    work = step.works(config.model_copy(update={"train": recipe}), count, which, device=device)[which]
    for _ in range(UNTIMED):
        work()
    _wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        work()
    _wait(device)
    seconds = (time.perf_counter() - start) / steps
    return seconds, torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
