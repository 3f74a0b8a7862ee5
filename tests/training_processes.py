"""One of several processes: `torchrun ... training_processes.py PREPARED CORPUS FOLDER`; the first writes to FOLDER."""

import sys
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pandas as pd
import torch
from training_fixtures import TRANSFORMER, config, make_trainer

from iebaker.corpus.loading import Member, open_corpus
from iebaker.method.gather import rank
from iebaker.training import distributed
from iebaker.training.checkpoint import Checkpoint
from iebaker.training.fit import fit
from iebaker.training.gradients import backward
from iebaker.training.trainer import Trainer

BATCHES = (np.arange(3, 23), np.arange(15, 600, 30))  # in the first, both processes have pairs of an image
# so small that rounding, which the optimiser's first steps make large, moves no pair across a threshold
GENTLE = {"train": {"lr": 1e-7, "epochs": 3}}


def settings(processes: int, chunk_size: int = 0) -> dict[str, dict]:
    train = {"processes": processes, "chunk_size": chunk_size, "crop_scale": 0.7, "orientations": 8}
    train |= GENTLE["train"] | {"pairs": "whole_images"}
    return TRANSFORMER | {"train": train, "ker": {"mask_ratio": 0.6}}


def steps(members: list[Member], processes: int, chunk_size: int) -> tuple[Trainer, dict[str, torch.Tensor]]:
    """Losses, decisions and gradients of two batches; elimination drops from the second."""
    trainer, found = make_trainer(members, **settings(processes, chunk_size)), {}
    trainer.task.train()
    for number, rows in enumerate(BATCHES):
        trainer.task.elimination.start_epoch(number)
        trainer.task.zero_grad()
        record = backward(trainer.shared, trainer.feed.batch(rows), chunk_size, trainer.scaler)
        for name, values in record.items():
            found[f"{number} {name}"] = distributed.mean(values.detach().clone()) if "loss" in name else values.detach()
        for name, parameter in trainer.task.named_parameters():
            found[f"{number} {name}"] = parameter.grad.clone()
    return trainer, found


def main(prepared: str, corpus: str, folder: str) -> None:
    members, out = open_corpus(Path(corpus), Path(prepared)), Path(folder)
    with distributed.together(2, "cpu"):
        for chunk_size in (0, 3):
            _, found = steps(members, 2, chunk_size)
            if rank() == 0:
                torch.save(found, out / f"steps_{chunk_size}.pt")
        save = Checkpoint.save

        def keep(checkpoint: Checkpoint, state: dict[str, Any], seen: pd.DataFrame) -> None:
            save(checkpoint, state, seen)
            if state["epoch"] == 2:
                copytree(checkpoint.folder, out / "resume_of_two")

        Checkpoint.save = keep
        machine = fit(config(**settings(2)), members, 0, out / "two", out / "resume")
        assert bool(machine) == (rank() == 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
