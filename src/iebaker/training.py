"""The training recipe, top to bottom: train, validate, keep the best epoch, checkpoint, go on where it stopped."""

import copy
import hashlib
import json
import os
import pickle
import shutil
import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from dvclive import Live
from safetensors.torch import save_file
from tqdm import tqdm

from iebaker.datasets.loading import Member
from iebaker.model import factory
from iebaker.params import TrainingConfig, canonical
from iebaker.provenance import code_digest
from iebaker.trainer import Trainer

STATE_FILE = "state.pt"


def fit(
    config: TrainingConfig, members: list[Member], seed: int, out: Path, resume: Path, features: Path | None = None
) -> dict[str, Any]:
    """Train, and write the best epoch's model with its history to `out`.

    A checkpoint is left in `resume` after each epoch; a later call with the same configuration, corpus and seed goes on
    from it and ends with the same numbers. It is removed when `out` is complete.

    Args:
        config: the resolved parameters.
        members: the corpus.
        seed: of all random streams.
        out: folder to create; it appears only when it is complete.
        resume: folder for the checkpoint, outside `out`.
        features: folder for what frozen trunks give, shared by trainings; None keeps nothing.

    Returns:
        What depends on the machine and so stays out of `out`: device, seconds, samples per second.
    """
    started = time.perf_counter()
    trainer = Trainer(config, members, seed, features)
    fingerprint = fingerprint_of(config, members, seed)
    if state := load_state(resume, fingerprint):
        trainer.restore(state)
        tqdm.write(f"resuming after epoch {trainer.epoch} of {config.train.epochs} from {resume}")
    trainer.prepare()
    seconds, first_epoch = 0.0, trainer.epoch

    while trainer.epoch < config.train.epochs:
        epoch_started = time.perf_counter()
        record = trainer.run_epoch()
        seconds += time.perf_counter() - epoch_started
        record["val_mR"] = trainer.validate()
        trainer.history.append(record)
        if record["val_mR"] > trainer.best["val_mR"]:
            weights = copy.deepcopy(trainer.model.state_dict())
            trainer.best = {"val_mR": record["val_mR"], "epoch": record["epoch"], "model": weights}
        save_state(resume, fingerprint, trainer.state())
        tqdm.write(describe(record, config.train.epochs))

    trainer.model.load_state_dict(trainer.best["model"])
    write(trainer, config, out)
    shutil.rmtree(resume, ignore_errors=True)
    trained = (trainer.epoch - first_epoch) * (trainer.epoch_pairs // config.train.batch_size) * config.train.batch_size
    return {
        "device": str(trainer.device),
        "seconds": round(time.perf_counter() - started, 1),
        "training_seconds": round(seconds, 1),
        "samples_per_second": round(trained / seconds, 1) if seconds else None,
    }


def fingerprint_of(config: TrainingConfig, members: list[Member], seed: int) -> str:
    """Identifies a training and its code: two with the same fingerprint give the same numbers on the same machine."""
    corpus = [(member.name, member.pixels_sha256, member.keywords) for member in members]
    digest = hashlib.sha256(json.dumps([canonical(config), seed, corpus], sort_keys=True).encode() + code_digest())
    for member in members:
        digest.update(pd.util.hash_pandas_object(member.manifest).to_numpy().tobytes())
    return digest.hexdigest()


def save_state(folder: Path, fingerprint: str, state: dict[str, Any]) -> None:
    """Replace the checkpoint in one step: a kill leaves the old one or the new one, never half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f"{STATE_FILE}.tmp"
    torch.save({"fingerprint": fingerprint, **state}, temporary)
    os.replace(temporary, folder / STATE_FILE)


def load_state(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The checkpoint in `folder`, if it belongs to the same training."""
    path = folder / STATE_FILE
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=False)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        tqdm.write(f"{path} is damaged ({type(error).__name__}): starting anew")
        return None
    return state if state["fingerprint"] == fingerprint else None


def describe(record: dict[str, Any], epochs: int) -> str:
    """One line on an epoch, for the log."""
    dropped = ", ".join(f"{name} {audit['dropped']}" for name, audit in record["elimination"].items())
    reached = f"loss {record['loss']:.3f}, val mR {record['val_mR']:.2f}"
    return f"epoch {record['epoch'] + 1}/{epochs}: {reached}, dropped {dropped}"


def write(trainer: Trainer, config: TrainingConfig, out: Path) -> None:
    """Write model, history and the last epoch's pairs to a temporary folder and move it to `out`."""
    temporary = out.with_name(out.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    factory.save(trainer.model, temporary, canonical(config))
    if trainer.keyword_head is not None:
        save_file(trainer.keyword_head.state_dict(), temporary / "keyword_head.safetensors")
    summary = {
        "best_epoch": trainer.best["epoch"],
        "val_mR": trainer.best["val_mR"],
        "pairs": len(trainer.pairs),
        "pairs_per_epoch": trainer.epoch_pairs,
        "steps": trainer.total_steps,
        "left_out_images": len(trainer.offenders),
        "separation": trainer.separation(),
    }
    (temporary / "training.json").write_text(json.dumps(summary, indent=2) + "\n")
    (temporary / "history.json").write_text(json.dumps(trainer.history, indent=1) + "\n")
    trainer.seen.to_parquet(temporary / "last_epoch.parquet", index=False)
    log_history(trainer.history, temporary / "dvclive")
    shutil.rmtree(out, ignore_errors=True)
    os.replace(temporary, out)


def log_history(history: list[dict[str, Any]], folder: Path) -> None:
    """The history in dvclive's format, for `dvc plots`."""
    with Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None) as live:
        for record in history:
            for name, value in record.items():
                if name.startswith("loss") or name == "val_mR":
                    live.log_metric(name, value)
            for name, audit in record["elimination"].items():
                live.log_metric(f"dropped/{name}", audit["dropped"])
            live.next_step()
