"""Training steps on ViT-B-32 where there is an accelerator: pairs a second, beside plain CLIP and the towers alone.

Seconds are by the clock, of several steps after some that are not timed; memory is the accelerator's.
"""

import time
from collections.abc import Callable, Iterator

import torch

from iebaker.bench import step
from iebaker.bench.measure import Measurement

BATCHES = (100, 400)  # pairs: the published batch, and a large one
PRECISION = "bfloat16"
UNTIMED = 3  # steps in which kernels are chosen and memory is set aside
PUBLISHED_PAIRS = 7 * 5 * (8734 + 4291 + 25_200)  # seen by the paper's training: 7 epochs of RSICD, RSITMD and NWPU


def rows(
    device: torch.device | None = None, batches: tuple[int, ...] = BATCHES, steps: int = 10, **model: str
) -> Iterator[Measurement]:
    """A row for each batch size; none without an accelerator.

    Args:
        device: what to measure; the accelerator unless given.
        batches: pairs of a step.
        steps: that are timed.
        model: overrides of the published model.
    """
    if device is None and torch.cuda.is_available():
        device = torch.device("cuda")
    if device is None:
        return
    config = step.published_config(**model)
    # groups of captions by length save padding, but make more and smaller kernels
    recipe = config.train.model_copy(update={"precision": PRECISION, "length_groups": 1})
    config = config.model_copy(update={"train": recipe})
    for count in batches:
        ours, peak = _seconds(step.works(config, count, "ours", device=device)["ours"], device, steps)
        plain, bound = (
            _seconds(step.works(config, count, which, device=device)[which], device, steps)[0]
            for which in ("plain", "bound")
        )
        rate = count / ours
        note = f"{rate:.0f} pairs a second; the paper's training in {PUBLISHED_PAIRS / rate / 3600:.2g} h"
        name = f"training step on the accelerator, ViT-B-32, {count} pairs, {PRECISION}"
        yield Measurement(name, ours, plain=plain, bound=bound, ours_peak=peak, note=note)


def _seconds(work: Callable[[], object], device: torch.device, steps: int) -> tuple[float, int | None]:
    """Seconds of one step, and the most memory that the accelerator held."""
    on_accelerator = device.type == "cuda"
    if on_accelerator:
        torch.cuda.reset_peak_memory_stats(device)
    for _ in range(UNTIMED):
        work()
    if on_accelerator:
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    for _ in range(steps):
        work()
    if on_accelerator:
        torch.cuda.synchronize(device)
    seconds = (time.perf_counter() - start) / steps
    return seconds, torch.cuda.max_memory_allocated(device) if on_accelerator else None
