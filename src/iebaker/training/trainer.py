"""The epochs of one training: batches, optimiser steps, and the record of what was eliminated."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from tqdm import tqdm

from iebaker.config.params import TrainingConfig
from iebaker.corpus import loading
from iebaker.corpus.streams import PURPOSES, stream
from iebaker.errors import IebakerError
from iebaker.method.eba import Elimination
from iebaker.method.gather import processes, rank
from iebaker.method.keyword_head import KeywordHead
from iebaker.method.masking import KeywordMasker
from iebaker.method.task import RetrievalTask
from iebaker.metrics.elimination import elimination_audit
from iebaker.model import factory
from iebaker.model.encoding import pick_device
from iebaker.model.features import FeatureStore
from iebaker.model.towers import adamw_groups
from iebaker.training import distributed, schedule
from iebaker.training.feed import Feed
from iebaker.training.gradients import backward
from iebaker.training.plan import Plan


class Trainer:
    """One training, ready to run epoch by epoch.

    Args:
        config: the resolved parameters.
        plan: what it sees.
        seed: of all random streams: data order, augmentation, masking, bank noise, injected captions, weights.
        features: folder for what frozen trunks give, shared by trainings; None keeps nothing.

    Attributes:
        model: both towers.
        task: what a step runs.
        epoch: epochs finished.
        seen: the pairs of the last epoch, with their similarities and what was dropped.
    """

    def __init__(self, config: TrainingConfig, plan: Plan, seed: int, features: Path | None = None) -> None:
        recipe = config.train
        self.config, self.plan = config, plan
        torch.set_flush_denormal(recipe.flush_denormals)  # of this thread, and of those that it starts from now on
        torch.set_num_threads(recipe.threads)
        torch.use_deterministic_algorithms(True, warn_only=True)
        # filling uninitialised memory costs 10% of a step and affects no result
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # set by a module class
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = recipe.tf32
        self.device = pick_device(recipe.device)
        self.streams = {purpose: stream(seed, purpose) for purpose in PURPOSES}

        torch.manual_seed(int(self.streams["weights"].integers(2**31)))
        self.model = factory.create(config.model).to(self.device)
        self.model.read(tokens=bool(config.ker or config.local.loss), trim=config.local.mask_padding)
        self.model.image.feature_dropout = self.model.text.feature_dropout = recipe.feature_dropout
        self.model.text.length_groups = recipe.length_groups
        self.masking = self._torch_generator("masking")
        masker, keyword_head = None, None
        if config.ker:
            keywords = loading.merged_keywords(plan.members)
            masker = KeywordMasker(self.model.tokenizer, keywords, plan.captions, config.ker)
            keyword_head = KeywordHead(self.model.embed_dim, masker.classes, config.ker.layers).to(self.device)
        if recipe.compile:
            self.model.image.compile_trunk()
            self.model.text.compile_trunk()
        elimination = Elimination(config.eba, plan.epoch_pairs, self._torch_generator("bank"))
        self.task = RetrievalTask(config, self.model, elimination, keyword_head)
        with distributed.first_alone():  # what frozen trunks give is there for the others
            self.feed = Feed(config, plan, self.model, masker, self.streams, self.masking, FeatureStore(features))

        groups = self.model.parameter_groups(recipe.lr, recipe.head_lr, recipe.weight_decay)
        if keyword_head is not None:
            groups += adamw_groups(keyword_head.parameters(), recipe.head_lr or recipe.lr, recipe.weight_decay)
        # half precision underflows without it; of other precisions it leaves loss and gradients as they are
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "float16")
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]
        self.shared = nn.parallel.DistributedDataParallel(self.task) if processes() > 1 else self.task
        self.epoch, self.step = 0, 0
        self.seen = self._nothing_seen()

    @property
    def cautions(self) -> list[str]:
        """What people should know before it runs."""
        recipe, found = self.config.train, [self.model.caution] if self.model.caution else []
        norms = (nn.modules.batchnorm._BatchNorm,)
        seen = min(recipe.chunk_size or recipe.batch_size, recipe.batch_size // processes())
        if seen < recipe.batch_size and any(isinstance(part, norms) and part.training for part in self.task.modules()):
            found.append(
                f"{self.model.name} has batch normalisation, which will see {seen} pairs of a batch at a time: not the "
                "same training as with train.processes=1 and train.chunk_size=0"
            )
        return found

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch and return its record: losses, thresholds, elimination.

        Raises:
            IebakerError: if the loss is not finite.
        """
        recipe = self.config.train
        self.task.elimination.start_epoch(self.epoch)
        self.task.train()
        rows = list(self.feed.epoch())
        bar = tqdm(
            self.feed.batches(rows),
            desc=f"epoch {self.epoch + 1}/{recipe.epochs}",
            total=len(rows),
            leave=False,
            mininterval=1,
            disable=rank() > 0,
        )
        records: list[dict[str, Tensor]] = []
        for batch in bar:
            self.optimiser.zero_grad(set_to_none=True)
            record = backward(self.shared, batch, recipe.chunk_size, self.scaler)
            self._update()
            if records:  # the loss of the step before is there without waiting for this one's
                loss = self._finite(records[-1]["loss"], self.step - 2)
                samples = (bar.format_dict.get("rate") or 0) * recipe.batch_size
                bar.set_postfix(loss=f"{loss:.3f}", samples_s=f"{samples:.0f}", refresh=False)
            records.append({name: values.detach() for name, values in record.items()})
        self._finite(records[-1]["loss"], self.step - 1)
        self.epoch += 1
        return {
            "epoch": self.epoch - 1,
            **{name: _mean(records, name) for name in records[0] if name.startswith("loss")},
            "elimination": self._audit(np.concatenate(rows), records),
        }

    def state(self) -> dict[str, Any]:
        """Everything beside `seen` that a later process needs to go on as if nothing had happened."""
        return {
            "epoch": self.epoch,
            "step": self.step,
            "task": self.task.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "elimination": self.task.elimination.state_dict(),
            "streams": {purpose: generator.bit_generator.state for purpose, generator in self.streams.items()},
            "masking": self.masking.get_state(),
        }

    def restore(self, state: dict[str, Any], seen: pd.DataFrame) -> None:
        """Take over a `state` of the same configuration, and the pairs of its last epoch."""
        self.epoch, self.step, self.seen = state["epoch"], state["step"], seen
        self.task.load_state_dict(state["task"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.task.elimination.load_state_dict(state["elimination"])
        for purpose, generator in self.streams.items():
            generator.bit_generator.state = state["streams"][purpose]
        self.masking.set_state(state["masking"])

    def _finite(self, loss: Tensor, step: int) -> float:
        value = loss.item()
        if not math.isfinite(value):
            raise IebakerError(
                f"the loss is {value} at step {step} (epoch {self.epoch}); lower train.lr, "
                "lengthen train.warmup_steps, or use train.precision=float32"
            )
        return value

    def _update(self) -> None:
        """One optimiser step at the scheduled learning rate, with the gradient's norm clipped."""
        recipe = self.config.train
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = schedule.learning_rate(self.step, peak, self.plan.warmup, self.plan.steps)
        self.scaler.unscale_(self.optimiser)
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.step += 1

    def _audit(self, rows: np.ndarray, records: list[dict[str, Tensor]]) -> dict[str, Any]:
        """Per similarity: its threshold, and what was dropped against what is known to be weak."""
        seen, result = self.plan.pairs.iloc[rows].reset_index(drop=True), dict[str, Any]()
        thresholds = self.task.elimination.thresholds
        for name in ("global", "local"):
            if name in records[0]:
                columns = (torch.cat([record[key] for record in records]) for key in (name, f"dropped_{name}"))
                values, dropped = (column.float().cpu().numpy() for column in columns)
                result[name] = {"threshold": thresholds[name] if math.isfinite(thresholds[name]) else None}
                result[name] |= elimination_audit(values, dropped.astype(bool), seen["weak"].to_numpy())
                seen[name], seen[f"dropped_{name}"] = values, dropped.astype(bool)
        self.seen = seen
        return result

    def _nothing_seen(self) -> pd.DataFrame:
        """`seen` before the first epoch: no rows, the columns of an epoch."""
        names = ["global", "local"] if self.config.local.loss else ["global"]
        columns = {name: pd.Series(dtype=np.float32) for name in names}
        columns |= {f"dropped_{name}": pd.Series(dtype=bool) for name in names}
        return self.plan.pairs.iloc[:0].assign(**columns)

    def _torch_generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(int(self.streams[purpose].integers(2**31)))


def _mean(records: list[dict[str, Tensor]], name: str) -> float:
    return float(np.mean(distributed.mean(torch.stack([record[name].float() for record in records])).tolist()))
