"""One batch over several processes: each holds an equal share of its pairs, rank by rank."""

from torch import Tensor, distributed

from iebaker.model.compat import open_clip


def processes() -> int:
    """How many train together; 1 where no process group was started."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def rank() -> int:
    """Of this process; 0 writes and speaks."""
    return distributed.get_rank() if processes() > 1 else 0


def gathered(values: Tensor) -> Tensor:
    """The rows (B, ...) of the whole batch, of which each process gives (B / processes, ...); differentiable.

    The gradient sums up what all processes ask of a row. They all compute the whole loss, so it is as many times too
    large as there are processes; DDP's mean over them makes that right.
    """
    if processes() == 1:
        return values
    # open_clip gathers two tensors at a time
    rows: Tensor = open_clip.loss.gather_features(values, values.new_zeros(1), gather_with_grad=True)[0]
    if rows.requires_grad:
        # a transposed gradient, as a loss over columns gives it, is exchanged wrongly by gloo
        rows.register_hook(Tensor.contiguous)  # type: ignore[no-untyped-call]  # torch does not type it
    return rows
