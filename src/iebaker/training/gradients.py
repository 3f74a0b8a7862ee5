"""Gradients of one batch's loss: at once, or a chunk of pairs at a time with the negatives of all.

By chunks, the towers run twice (GradCache; Gao et al., 2021, arXiv 2101.06983): once without gradients, for the
features that the loss of the whole batch and its gradient with respect to them are made of, and once more, chunk by
chunk, to pass that gradient on. Memory is that of a chunk, and of the features. Keyword reasoning compares no pairs, so
it runs in the second pass alone.
"""

from contextlib import nullcontext

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from iebaker.method.task import Batch, Features, RetrievalTask


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
        record: dict[str, Tensor] = step(batch)
        _backward(scaler.scale(record["loss"]))
        return record
    task: RetrievalTask = step if isinstance(step, RetrievalTask) else step.module
    chunks = batch.pieces(chunk_size)
    record, gradients = _compare(task, chunks)
    for number, chunk in enumerate(chunks):
        wanted = Features._make(None if values is None else values[number] for values in gradients)
        last = number == len(chunks) - 1
        # processes exchange the sum of all chunks
        with nullcontext() if last or isinstance(step, RetrievalTask) else step.no_sync():
            part = step(chunk, wanted)
            _backward(scaler.scale(part["loss"]))
        if "loss_keywords" in part:
            record["loss_keywords"] = record.get("loss_keywords", 0) + part["loss_keywords"].detach()
    loss = record["loss_retrieval"]
    if task.config.ker is not None:
        loss = loss + task.config.ker.weight * record["loss_keywords"]
    return {"loss": loss, **record}


def _compare(task: RetrievalTask, chunks: list[Batch]) -> tuple[dict[str, Tensor], list[list[Tensor] | None]]:
    """What `compare` returns of all chunks, and the gradients of its loss, a list of chunks for each of `Features`."""
    with torch.no_grad():
        encoded = [task.encode(chunk) for chunk in chunks]
    parts = zip(*(task.features(*outputs) for outputs in encoded), strict=True)
    padding = torch.cat([texts.padding for _, texts in encoded])
    # in float32, so that gradients need no scale
    whole = Features._make(None if part[0] is None else torch.cat(part).float().requires_grad_() for part in parts)
    record = task.compare(whole, padding, chunks[0].positives)
    leaves = [values for values in whole if values is not None]
    gradients = iter(torch.autograd.grad(record["loss_retrieval"], leaves))
    sizes = [len(texts.pooled) for _, texts in encoded]
    return (
        {name: values.detach() for name, values in record.items()},
        [None if values is None else list(torch.split(next(gradients), sizes)) for values in whole],
    )


def _backward(loss: Tensor) -> None:
    loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
