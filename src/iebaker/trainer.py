"""One training with EBA and KER, epoch by epoch (method: Objective); training.py is the recipe around it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from tqdm import tqdm

from iebaker import eba, eba_audit, objective, schedule, similarity
from iebaker.datasets import loading
from iebaker.datasets.loading import Member
from iebaker.encoding import Encoder, pick_device
from iebaker.features import FeatureStore
from iebaker.keywords.masking import KeywordMasker, MaskedBatch
from iebaker.metrics.recall import hits, recalls, relevance
from iebaker.model import factory
from iebaker.model.keyword_head import KeywordHead
from iebaker.model.towers import adamw_groups
from iebaker.params import TrainingConfig, canonical


class TrainingError(RuntimeError):
    """Training can't go on: the message says since when and what to change."""


class Trainer:
    """One training: towers, keyword head, elimination, optimiser and random streams, ready to run epoch by epoch.

    Args:
        config: the resolved parameters.
        members: the corpus.
        seed: of all random streams: data order, augmentation, masking, bank noise, injected captions, weights.
        features: folder for what frozen trunks give, shared by trainings; None keeps nothing.
    """

    def __init__(self, config: TrainingConfig, members: list[Member], seed: int, features: Path | None = None) -> None:
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # a tenth of a step, to hide what no result reads
        self.config, self.members, recipe = config, members, config.train
        self.device = pick_device(recipe.device, recipe.threads)
        self.pairs, self.offenders = loading.training_pairs(members, recipe.injected_rate, seed)
        self.epoch_pairs = loading.pairs_per_epoch(self.pairs, recipe.pairs)
        self.total_steps = recipe.epochs * (self.epoch_pairs // recipe.batch_size)
        if without := [member.name for member in members if not loading.split_of(member, "val").captions]:
            raise TrainingError(
                f"{', '.join(without)}: no validation split, and every choice is made on validation; "
                f"set data.{without[0]}.validation_share"
            )
        if not len(self.pairs):
            raise TrainingError(
                f"no training pair: {len(self.offenders)} training images were left out as near-duplicates of "
                "validation or test images, see reports/audit.json; look at the images and the splits"
            )
        if self.epoch_pairs < recipe.batch_size:
            raise TrainingError(
                f"train.batch_size={recipe.batch_size} exceeds the {self.epoch_pairs} pairs of an epoch; lower it"
            )
        schedule.check_warmup(recipe.warmup_steps, self.total_steps)
        self.streams = {name: loading.stream(seed, number) for name, number in STREAMS.items()}

        torch.manual_seed(int(self.streams["weights"].integers(2**31)))
        self.model = factory.create(config.model).to(self.device)
        self.masking = self._torch_generator("masking")
        self.masker, self.keyword_head = self._keyword_reasoning()
        self.elimination = eba.Elimination(config.eba, self.epoch_pairs, self._torch_generator("bank"))
        self.encoder = Encoder(
            self.model,
            members,
            self.device,
            crop_scale=recipe.crop_scale,
            flip=recipe.flip,
            trim=config.similarity.mask_padding,
            tokens=config.ker.enabled or config.similarity.local_loss > 0,
            feature_dropout=recipe.feature_dropout,
            augmentation=self.streams["augmentation"],
            store=FeatureStore(features),
        )
        groups = self.model.parameter_groups(recipe.lr, recipe.head_lr, recipe.weight_decay)
        if self.keyword_head is not None:
            groups += adamw_groups(self.keyword_head.parameters(), recipe.head_lr or recipe.lr, recipe.weight_decay)
        self.optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.999), fused=True)
        self.peaks = [group["lr"] for group in self.optimiser.param_groups]
        self.scale = math.exp(recipe.logit_scale)
        self.epoch, self.step = 0, 0
        self.history: list[dict[str, Any]] = []
        self.best: dict[str, Any] = {"val_mR": -1.0}
        self.seen = pd.DataFrame()  # the pairs of the last epoch, with their similarities and what was dropped

    def _torch_generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(int(self.streams[purpose].integers(2**31)))

    def _keyword_reasoning(self) -> tuple[KeywordMasker | None, KeywordHead | None]:
        params = self.config.ker
        if not params.enabled:
            return None, None
        keywords = loading.merged_keywords(self.members)
        masker = KeywordMasker(self.model.tokenizer, keywords, self.pairs["caption"], params)
        head = KeywordHead(self.model.embed_dim, masker.classes, params.layers)
        return masker, head.to(self.device)

    def prepare(self) -> None:
        """Tokenise all training captions, and run frozen trunks once over all they will be asked for."""
        self.token_ids = self.model.tokenize(self.pairs["caption"].tolist())
        member_of, image_ids = self.pairs["member"].to_numpy(), self.pairs["image_id"].to_numpy()
        validation = [loading.split_of(member, "val") for member in self.members]
        self.encoder.cache_images(
            np.concatenate([member_of, *(np.full(len(v.image_ids), i) for i, v in enumerate(validation))]),
            np.concatenate([image_ids, *(v.image_ids for v in validation)]),
        )
        texts = [self.token_ids, *(self.model.tokenize(v.captions) for v in validation)]
        if self.masker is not None and self.encoder.texts_are_fixed:
            if self.config.ker.mask_ratio < 1:
                raise TrainingError(
                    "ker.mask_ratio < 1 masks anew in each epoch, which a frozen text trunk can't cache; "
                    "set ker.mask_ratio=1 or model.lock_text=false"
                )
            texts.append(self.masker.mask(self.pairs["caption"].tolist()).token_ids)
        self.encoder.cache_texts(torch.cat(texts))

    def batch_loss(self, rows: np.ndarray) -> tuple[Tensor, dict[str, Tensor]]:
        """Forward pass of one batch of pairs.

        Returns:
            The loss, and for the history: its parts, and `global`, `local` (B,) similarities of the positive pairs
            with `dropped_global`, `dropped_local` (B,) of the elimination.
        """
        pairs, params = self.pairs, self.config.similarity
        images = self.encoder.images(pairs["member"].to_numpy()[rows], pairs["image_id"].to_numpy()[rows], augment=True)
        texts = self.encoder.texts(self.token_ids[rows])
        global_values = similarity.global_similarity(texts.pooled, images.pooled)
        local_values = None
        if params.local_loss:
            padding = texts.padding if params.mask_padding else None
            local_values = self.scale * similarity.local_similarity(
                texts.tokens, images.tokens, padding, precision=params.precision
            )
        positives = (global_values.diagonal(), None if local_values is None else local_values.diagonal())
        keep_global, keep_local = self.elimination.masks(*positives)
        loss = objective.retrieval_loss(
            global_values, local_values, keep_global, keep_local, self.scale, params.local_loss
        )
        record = {"global": positives[0], "dropped_global": ~keep_global, "loss_retrieval": loss}
        if local_values is not None:
            record |= {"local": positives[1], "dropped_local": ~keep_local}
        if self.masker is not None:
            masked = self.masker.mask([pairs["caption"].iat[row] for row in rows], self.masking)
            keyword = self._keyword_loss(masked, images.tokens)
            loss = loss + self.config.ker.weight * keyword
            record["loss_keywords"] = keyword
        return loss, {"loss": loss, **record}

    def _keyword_loss(self, masked: MaskedBatch, image_tokens: Tensor) -> Tensor:
        texts = self.encoder.texts(masked.token_ids)
        positions = masked.masked[:, : texts.tokens.shape[1]].to(self.device)
        scores = self.keyword_head(texts.tokens, image_tokens, positions)
        return objective.keyword_loss(scores, masked.classes.to(self.device))

    def update(self, loss: Tensor) -> None:
        """One optimiser step at the scheduled learning rate, with the gradient's norm clipped."""
        recipe = self.config.train
        for group, peak in zip(self.optimiser.param_groups, self.peaks, strict=True):
            group["lr"] = schedule.learning_rate(self.step, peak, recipe.warmup_steps, self.total_steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = [parameter for group in self.optimiser.param_groups for parameter in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, recipe.grad_clip)
        self.optimiser.step()
        self.step += 1

    def run_epoch(self) -> dict[str, Any]:
        """Train one epoch and return its record: losses, thresholds, elimination.

        Raises:
            TrainingError: if the loss is not finite.
        """
        recipe = self.config.train
        self.elimination.start_epoch(self.epoch)
        self.model.train()
        batches = list(loading.epoch_batches(self.pairs, recipe.batch_size, recipe.pairs, self.streams["data"]))
        records, bar = [], tqdm(batches, desc=f"epoch {self.epoch + 1}/{recipe.epochs}", leave=False, mininterval=1)
        for rows in bar:
            self.encoder.dropout_seed = int(self.streams["dropout"].integers(2**31))
            with torch.autocast(self.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
                loss, record = self.batch_loss(rows)
            if not torch.isfinite(loss):
                raise TrainingError(
                    f"the loss is {loss.item()} at step {self.step} (epoch {self.epoch}); lower train.lr, "
                    "lengthen train.warmup_steps, or use train.precision=float32"
                )
            self.update(loss)
            records.append({name: values.detach().float().cpu() for name, values in record.items()})
            samples = bar.format_dict["rate"]
            bar.set_postfix(
                loss=f"{loss.item():.3f}", samples_s=f"{(samples or 0) * recipe.batch_size:.0f}", refresh=False
            )
        self.epoch += 1
        return {
            "epoch": self.epoch - 1,
            **{name: _mean(records, name) for name in records[0] if name.startswith("loss")},
            "elimination": self._audit(np.concatenate(batches), records),
        }

    def _audit(self, rows: np.ndarray, records: list[dict[str, Tensor]]) -> dict[str, Any]:
        """Per similarity: its threshold, and what was dropped against what is known to be weak."""
        seen, result = self.pairs.iloc[rows].reset_index(drop=True), {}
        for name in ("global", "local"):
            if name in records[0]:
                values, dropped = (torch.cat([r[key] for r in records]).numpy() for key in (name, f"dropped_{name}"))
                threshold = getattr(self.elimination, f"threshold_{name}")
                result[name] = {"threshold": threshold if math.isfinite(threshold) else None}
                result[name] |= eba_audit.elimination_audit(values, dropped.astype(bool), seen["weak"].to_numpy())
                seen[name], seen[f"dropped_{name}"] = values, dropped.astype(bool)
        self.seen = seen
        return result

    @torch.no_grad()
    def separation(self) -> dict[str, float | None]:
        """How well the model as it is now tells weak training captions from untouched ones, where they are known.

        Of all training pairs, by global similarity without augmentation, so less noisy than an epoch's own record.

        Returns:
            `auroc` of all weak ones, `auroc_<kind>` of each kind; empty where no pair is known to be weak.
        """
        if (self.pairs["weak"] == eba_audit.UNTOUCHED).all():
            return {}
        values = np.empty(len(self.pairs), np.float32)
        for index, rows in self.pairs.groupby("member").indices.items():
            image_ids, image = np.unique(self.pairs["image_id"].to_numpy()[rows], return_inverse=True)
            images = self.encoder.all_images(index, image_ids, pooled_only=True).pooled[image]
            texts, text = self.encoder.all_texts(self.pairs["caption"].to_numpy()[rows].tolist(), pooled_only=True)
            values[rows] = torch.nn.functional.cosine_similarity(texts.pooled[text], images).numpy()
        return eba_audit.separation(values, self.pairs["weak"].to_numpy())

    @torch.no_grad()
    def validate(self) -> float:
        """Mean recall on validation, averaged over the members: what the best epoch is chosen by.

        Of the global similarity alone, so that the fusion weights can change without a new training.
        """
        values = []
        for index, member in enumerate(self.members):
            split = loading.split_of(member, "val")
            images = self.encoder.all_images(index, split.image_ids, pooled_only=True)
            texts, row = self.encoder.all_texts(split.captions, pooled_only=True)
            matrix = similarity.global_similarity(texts.pooled, images.pooled).numpy()[row]
            values.append(recalls(hits(matrix, matrix, relevance(split.image_of_text)))["mR"])
        return float(np.mean(values))

    def state(self) -> dict[str, Any]:
        """Everything that a later process needs to go on as if nothing had happened."""
        return {
            "config": canonical(self.config),
            "epoch": self.epoch,
            "step": self.step,
            "history": self.history,
            "seen": self.seen,
            "best": self.best,
            "model": self.model.state_dict(),
            "keyword_head": self.keyword_head and self.keyword_head.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "elimination": self.elimination.state_dict(),
            "streams": {name: stream.bit_generator.state for name, stream in self.streams.items()},
            "masking": self.masking.get_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take over a `state` of the same configuration."""
        self.epoch, self.step = state["epoch"], state["step"]
        self.history, self.best, self.seen = state["history"], state["best"], state["seen"]
        self.model.load_state_dict(state["model"])
        if self.keyword_head is not None:
            self.keyword_head.load_state_dict(state["keyword_head"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.elimination.load_state_dict(state["elimination"])
        for name, stream in self.streams.items():
            stream.bit_generator.state = state["streams"][name]
        self.masking.set_state(state["masking"])


STREAMS = {
    "data": loading.DATA_STREAM,
    "augmentation": loading.AUGMENTATION_STREAM,
    "masking": loading.MASKING_STREAM,
    "bank": loading.BANK_STREAM,
    "weights": loading.WEIGHT_STREAM,
    "dropout": loading.DROPOUT_STREAM,
}


def _mean(records: list[dict[str, Tensor]], name: str) -> float:
    return float(np.mean([record[name].item() for record in records]))
