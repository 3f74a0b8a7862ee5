"""Gradients of one batch's loss: at once, or a chunk of pairs at a time with the negatives of all.

By chunks, the towers run twice (GradCache; Gao et al., 2021, arXiv 2101.06983): once without gradients, for the
features that the loss of the whole batch and its gradient with respect to them are made of, and once more, chunk by
chunk, to pass that gradient on. The first chunk runs once: it comes last in the first pass and first in the second, so
that what its gradients need stays in memory. Memory is that of a chunk, and of the features. Keyword reasoning compares
no pairs, so it runs in the second pass alone.
"""

from contextlib import nullcontext
from typing import cast

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from iebaker.config.params import KerParams
from iebaker.method.task import Batch, Encoded, Features, RetrievalTask, Rows


def backward(
    step: RetrievalTask | DistributedDataParallel, batch: Batch, chunk_size: int, scaler: torch.amp.GradScaler
) -> dict[str, Tensor]:
    """Add the gradients of one batch's loss to the parameters.

    Args:
        step: a RetrievalTask, or DDP around one.
        batch: the pairs of this process.
        chunk_size: pairs at a time; 0: all at once.
        scaler: of the loss.

    Returns:
        What the task returns.
    """
    if not chunk_size:
        record = cast(dict[str, Tensor], step(batch))
        scaler.scale(record["loss"]).backward()  # type: ignore[no-untyped-call]  # torch does not type it
        return record
    task = cast(RetrievalTask, step.module if isinstance(step, DistributedDataParallel) else step)
    chunks = batch.pieces(chunk_size)
    encoded: Encoded | None
    record, gradients, encoded = _compare(task, chunks)
    for number, (chunk, wanted) in enumerate(zip(chunks, gradients, strict=True), start=1):
        # processes exchange the sum of all chunks
        waits = isinstance(step, DistributedDataParallel) and number < len(chunks)
        with cast(DistributedDataParallel, step).no_sync() if waits else nullcontext():
            part = step(chunk, wanted, encoded)
            scaler.scale(part["loss"]).backward()
        encoded = None  # of the first chunk alone
        if "loss_keywords" in part:
            record["loss_keywords"] = record.get("loss_keywords", 0) + part["loss_keywords"].detach()
    loss = record["loss_retrieval"]
    if "loss_keywords" in record:
        loss = loss + cast(KerParams, task.config.ker).weight * record["loss_keywords"]
    return {"loss": loss, **record}


def _compare(task: RetrievalTask, chunks: list[Batch]) -> tuple[dict[str, Tensor], list[Features], Encoded]:
    """What `compare` returns of all chunks, the gradients by each chunk's features, and the first chunk encoded."""
    with torch.no_grad():
        others = [task.features(chunk, *task.encode(chunk)) for chunk in chunks[1:]]
    first = task.encode(chunks[0])
    parts, rows = zip(task.features(chunks[0], *first), *others, strict=True)
    # in float32, so that gradients need no scale
    whole = Features(*(torch.cat(values).detach().float().requires_grad_() for values in zip(*parts, strict=True)))
    record = task.compare(whole, Rows.joined(rows), chunks[0].positives)
    gradients = torch.autograd.grad(record["loss_retrieval"], whole, allow_unused=True, materialize_grads=True)
    sizes = [len(part.image) for part in parts]
    split = zip(*(torch.split(values, sizes) for values in gradients), strict=True)
    found = {name: values.detach() for name, values in record.items()}
    return found, [Features(*values) for values in split], first
