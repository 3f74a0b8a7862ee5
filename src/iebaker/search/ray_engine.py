"""Embedding the shards of a plan by Ray: the function of one process, mapped over rows that each name a shard's files.

Names go through Ray; pixels are read where they are embedded, and shards are written there, so every machine needs the
images and the archive's folder at the same place. Extra `ray`.
"""

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from iebaker.errors import IebakerError
from iebaker.model.encoding import pick_device
from iebaker.search.embedding import Embedder
from iebaker.search.index import Indexer, Summary
from iebaker.search.listing import ListedFile
from iebaker.search.plan import Plan


def write_shards(plan: Plan, embedder: Embedder, device: str = "auto") -> Summary:
    """As `index.write_shards` on all machines of a Ray cluster: that of RAY_ADDRESS, else this machine alone.

    A machine with accelerators runs one worker on each, another one worker a core.

    Raises:
        IebakerError: without the extra, or if another model made the archive.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise IebakerError(f"{error.name} is missing; install it by: pip install 'iebaker[ray]'") from error
    Indexer(plan, embedder)  # refuses another model's archive before any worker starts
    summary, started = Summary(refused=list(plan.refused)), time.perf_counter()
    own = not ray.is_initialized()
    if own:
        ray.init(include_dashboard=False, log_to_driver=False)
    try:
        gpus = int(pick_device(device).type == "cuda")
        workers = int(ray.cluster_resources().get("GPU" if gpus else "CPU", 1))
        rows = [
            {"name": name, "files": json.dumps([asdict(file) for file in part])}
            for name, part in zip(plan.names, plan.parts, strict=True)
        ]
        written = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Worker,
            fn_constructor_args=(replace(plan, parts=()), str(embedder.folder), device, torch.get_num_threads()),
            batch_size=1,
            num_gpus=gpus,
            compute=ray.data.ActorPoolStrategy(size=max(1, min(workers, len(rows)))),
        )
        for row in written.iter_rows():
            done = json.loads(row["summary"])
            summary.add(Summary(**{**done, "refused": [tuple(one) for one in done["refused"]]}))
    finally:
        if own:
            ray.shutdown()
    summary.seconds = time.perf_counter() - started
    return summary


class Worker:
    """One process of the cluster, with the model in its memory."""

    def __init__(self, plan: Plan, model: str, device: str, threads: int) -> None:
        torch.set_num_threads(threads)  # as in one process: sums then run in the same order
        self.indexer = Indexer(plan, Embedder(Path(model), device))

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """What was done for each shard, as JSON."""
        done = []
        for name, files in zip(batch["name"], batch["files"], strict=True):
            part = [ListedFile(**file) for file in json.loads(files)]
            done.append(json.dumps(asdict(self.indexer.write(str(name), part))))
        return {"summary": done}
