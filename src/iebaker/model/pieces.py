"""Items a piece at a time, where nothing trains."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import torch
from tqdm import tqdm

Result = TypeVar("Result")


def piecewise(
    function: Callable[[np.ndarray], Result], count: int, size: int, device: torch.device, progress: str = ""
) -> Iterator[Result]:
    """What `function` gives for pieces of 0 ... count - 1, in their order and without gradients.

    On a processor every core takes pieces of its own: small ones, several times faster than all cores in one large
    piece. Sums then don't depend on the number of threads.

    Args:
        function: of the numbers of a piece's items.
        count: of all items.
        size: of a piece.
        device: where it computes.
        progress: name in a progress bar; none without.
    """
    on_processor, threads = device.type == "cpu", torch.get_num_threads()

    @torch.no_grad()
    def alone(piece: np.ndarray) -> Result:
        if on_processor:
            torch.set_num_threads(1)  # of this thread
        return function(piece)

    pieces = [np.arange(start, min(start + size, count)) for start in range(0, count, size)]
    try:
        with (
            ThreadPoolExecutor(threads if on_processor else 1) as pool,
            tqdm(total=count, desc=progress, disable=not progress, leave=False) as bar,
        ):
            for piece, result in zip(pieces, pool.map(alone, pieces), strict=True):
                yield result
                bar.update(len(piece))
    finally:
        torch.set_num_threads(threads)  # threads that start later take the number that was set last, by whichever
