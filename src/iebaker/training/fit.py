"""The training recipe, top to bottom: train, validate, keep the best epoch, checkpoint, go on where it stopped."""

import copy
import hashlib
import json
import time
from pathlib import Path
from typing import Any

import pandas as pd
from dvclive.live import Live
from safetensors.torch import save_file
from tqdm import tqdm

from iebaker.atomic import replacing
from iebaker.config.named_files import of_model
from iebaker.config.params import TrainingConfig
from iebaker.corpus.loading import Member
from iebaker.method.gather import rank
from iebaker.model import factory
from iebaker.model.provenance import code_digest
from iebaker.training import distributed
from iebaker.training.checkpoint import Checkpoint
from iebaker.training.plan import make_plan
from iebaker.training.trainer import Trainer
from iebaker.training.validation import separation, validate


def fit(
    config: TrainingConfig, members: list[Member], seed: int, out: Path, resume: Path, features: Path | None = None
) -> dict[str, Any]:
    """Train, and write the best epoch's model with its history to `out`; with zero epochs, the untouched model.

    Of several processes each takes its share of every batch, and the first one validates and writes.

    A checkpoint is left in `resume` after each epoch; a later call with the same configuration, corpus and seed goes on
    from it and ends with the same numbers. It stays after the last: `out` is not safe before DVC has it in its cache,
    so the next stage removes it.

    Args:
        config: the resolved parameters.
        members: the corpus.
        seed: of all random streams.
        out: folder to create; it appears only when it is complete.
        resume: folder for the checkpoint, outside `out`.
        features: folder for what frozen trunks give, shared by trainings; None keeps nothing.

    Returns:
        What depends on the machine and so stays out of `out`: device, processes, seconds, the share of the training
        that waited for batches, samples per second. Nothing but of the first process.
    """
    started = time.perf_counter()
    epochs = config.train.epochs
    plan = make_plan(config, members, seed)
    leads = rank() == 0
    if leads and epochs and plan.warmup < config.train.warmup_steps:
        tqdm.write(f"warm-up of {plan.warmup} instead of {config.train.warmup_steps} steps: a tenth of {plan.steps}")
    trainer = Trainer(config, plan, seed, features)
    for caution in trainer.cautions if leads else ():
        tqdm.write(caution)
    checkpoint = Checkpoint(resume, fingerprint_of(config, members, seed))
    history: list[dict[str, Any]] = []
    best: dict[str, Any] = {"val_mR": -1.0}
    if found := checkpoint.load():
        state, seen = found
        history, best = state["history"], state["best"]
        trainer.restore(state, seen)
        if leads:
            tqdm.write(f"resuming after epoch {trainer.epoch} of {epochs} from {resume}")
    distributed.agree(trainer.epoch)
    seconds, first_epoch = 0.0, trainer.epoch

    while trainer.epoch < epochs:
        epoch_started = time.perf_counter()
        record = trainer.run_epoch()
        seconds += time.perf_counter() - epoch_started
        if not leads:
            continue
        record["val_mR"] = validate(trainer.model, members)
        history.append(record)
        if record["val_mR"] > best["val_mR"]:
            weights = copy.deepcopy(trainer.model.state_dict())
            best = {"val_mR": record["val_mR"], "epoch": record["epoch"], "model": weights}
        checkpoint.save({**trainer.state(), "history": history, "best": best}, trainer.seen)
        tqdm.write(describe(record, epochs))

    if not leads:
        return {}
    if epochs:
        trainer.model.load_state_dict(best["model"])
    else:
        best = {"val_mR": validate(trainer.model, members), "epoch": None}
    summary = {
        "best_epoch": best["epoch"],
        "val_mR": best["val_mR"],
        "pairs": len(plan.pairs),
        "pairs_per_epoch": plan.epoch_pairs,
        "steps": plan.steps,
        "left_out_images": len(plan.left_out),
        "separation": separation(trainer.model, members, plan.pairs),
    }
    write(trainer, summary, history, out)
    steps = trainer.step * (epochs - first_epoch) // epochs if epochs else 0
    return {
        "device": str(trainer.device),
        "processes": config.train.processes,
        "seconds": round(time.perf_counter() - started, 1),
        "training_seconds": round(seconds, 1),
        "waiting_share": round(trainer.feed.waited / seconds, 4) if seconds else None,
        "samples_per_second": round(steps * config.train.batch_size / seconds, 1) if seconds else None,
    }


def fingerprint_of(config: TrainingConfig, members: list[Member], seed: int) -> str:
    """Identifies a training and its code: two with the same fingerprint give the same numbers on the same machine.

    The number of processes is left out: another one goes on from the same checkpoint, with other rounding.
    """
    corpus = [(member.name, member.pixels_sha256, member.keywords) for member in members]
    recipe = config.model_dump(exclude={"train": {"processes"}})
    content = json.dumps([recipe, of_model(config.model), seed, corpus], sort_keys=True)
    digest = hashlib.sha256(content.encode() + code_digest())
    for member in members:
        digest.update(pd.util.hash_pandas_object(member.manifest).to_numpy().tobytes())
    return digest.hexdigest()


def describe(record: dict[str, Any], epochs: int) -> str:
    """One line on an epoch, for the log."""
    dropped = ", ".join(f"{name} {audit['dropped']}" for name, audit in record["elimination"].items())
    reached = f"loss {record['loss']:.3f}, val mR {record['val_mR']:.2f}"
    return f"epoch {record['epoch'] + 1}/{epochs}: {reached}, dropped {dropped}"


def write(trainer: Trainer, summary: dict[str, Any], history: list[dict[str, Any]], out: Path) -> None:
    """Write model, summary, history and the last epoch's pairs; `out` appears when all is there."""
    with replacing(out) as folder:
        factory.save(trainer.model, folder, trainer.config.model_dump())
        if trainer.task.keyword_head is not None:
            save_file(trainer.task.keyword_head.state_dict(), folder / "keyword_head.safetensors")
        (folder / "training.json").write_text(json.dumps(summary, indent=2) + "\n")
        (folder / "history.json").write_text(json.dumps(history, indent=1) + "\n")
        trainer.seen.to_parquet(folder / "last_epoch.parquet", index=False)
        log_history(history, folder / "dvclive")


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
