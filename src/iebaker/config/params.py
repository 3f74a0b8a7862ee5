"""Typed parameters: one model a section of params.yaml, unknown keys refused.

PyYAML reads `1e-5` as a string and command-line overrides write `3e-05`; the declared field types turn both into the
number that is meant. What params.yaml holds has no default here: no object ever holds a number that nobody set.
Nothing here knows of files or stages.
"""

import difflib
import math
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from iebaker.config.section import Count, Number, Orientations, Section
from iebaker.config.sources import Layout, PartParams, SourceParams, Text
from iebaker.errors import IebakerError

Model = TypeVar("Model", bound=BaseModel)
SHOWN_KEYS = 20
SHOWN_CHARACTERS = 200
LARGEST_STRENGTH = 1e6


def _moderate(value: float) -> float:
    if LARGEST_STRENGTH < value < math.inf:
        raise ValueError(f"at most {LARGEST_STRENGTH:g}, or .inf")
    return value


class BenchmarkParams(Layout):
    """`benchmark.<name>`: where a benchmark comes from and how it is read. Only `source` must be given.

    `format`, `annotations`, `images` and `sha256` describe `source`; each of `sources` has its own.
    """

    source: Text | Annotated[list[Text], Field(min_length=1)] | None = Field(
        None, description="synthetic, or one or several places; null: the first of `sources` that can be had"
    )
    sha256: str | list[str] = Field("", description="checksum of each place of `source`, in order; '' unknown")
    sources: list[SourceParams] = Field([], description="public sources, tried in order")
    licence: str = Field("", description="as its authors say")
    citation: str = Field("", description="what to cite")
    by_hand: str = Field("", description="which files to get where, when no source can be had")
    image_size: Count = Field(224, ge=1, le=2048, description="side in pixels of the stored square images")
    validation_share: Number = Field(
        0.0, ge=0, lt=1, description="share of train held out by a hash of the file name; for sources without val"
    )
    missing: Literal["refuse", "exclude"] = Field(
        "refuse", description="captions without image, images without caption, empty captions, unreadable images"
    )

    @property
    def choices(self) -> list[SourceParams]:
        """The sources to try, in order: `source` alone where it is set."""
        if self.source is None:
            return self.sources
        places = [self.source] if isinstance(self.source, str) else self.source
        checksums = [self.sha256] if isinstance(self.sha256, str) else self.sha256
        parts = [
            PartParams(place=place, sha256=checksum)
            for place, checksum in zip(places, checksums if any(checksums) else [""] * len(places), strict=True)
        ]
        return [SourceParams(parts=parts, format=self.format, annotations=self.annotations, images=self.images)]

    @model_validator(mode="after")
    def _sources_fit(self) -> "BenchmarkParams":
        if self.source is None:
            if not self.sources:
                raise ValueError("name a `source`: a folder, an archive, an address, or synthetic")
            if given := [key for key in ("format", "annotations", "images", "sha256") if getattr(self, key)]:
                raise ValueError(f"{given[0]} describes `source`, which is null; set both, or set it within `sources`")
            return self
        places = 1 if isinstance(self.source, str) else len(self.source)
        checksums = [self.sha256] if isinstance(self.sha256, str) else self.sha256
        if any(checksums) and len(checksums) != places:
            raise ValueError(f"sha256 has {len(checksums)} entries, source {places}; give one each, '' if unknown")
        for checksum in filter(None, checksums):
            if not re.fullmatch("[0-9a-f]{64}", checksum):
                raise ValueError(f"sha256={checksum!r} is not a SHA-256 (64 lower-case hexadecimal digits)")
        return self


class SyntheticParams(Section):
    """`synthetic`: the embedded benchmark of drawn overhead scenes."""

    train: Count = Field(ge=1, le=1_000_000)
    val: Count = Field(ge=1, le=1_000_000)
    test: Count = Field(ge=1, le=1_000_000)
    image_size: Count = Field(ge=32, le=2048)
    weak_rate: Number = Field(ge=0, le=1, description="share of training captions replaced by weakly correlated ones")
    seed: Count = Field(ge=0, lt=2**32)


class ModelParams(Section):
    """`model`: the towers, by open_clip's names."""

    name: str = Field(
        description="an open_clip model name, hf-hub:..., local-dir:..., or a config of iebaker/model/configs"
    )
    pretrained: str = Field(
        description="tag, checkpoint file, hf-hub:ORG/REPOSITORY[/FILE], packaged; '' random weights"
    )
    image_size: Count = Field(
        ge=0, le=2048, description="side in pixels that the image tower reads; 0: what its name says"
    )
    lock_image: bool = Field(description="freeze the image trunk; its projection still trains")
    lock_text: bool = Field(description="freeze the text trunk; its projection still trains")
    unlocked_image: Count = Field(ge=0, le=1000, description="last blocks of a frozen image trunk that still train")
    unlocked_text: Count = Field(ge=0, le=1000, description="last blocks of a frozen text trunk that still train")
    orientations: Orientations = Field(
        description="of an image, whose mean embedding stands for it once trained; numbered as in train.orientations"
    )


class TrainParams(Section):
    """`train`: the recipe (method: Objective)."""

    epochs: Count = Field(ge=0, le=10_000, description="0 evaluates the untouched model")
    batch_size: Count = Field(ge=2, le=1_000_000, description="a contrastive loss needs at least two pairs")
    pairs: Literal["all", "one_per_image", "whole_images"] = Field(
        description="of an epoch: all in any order, one caption drawn for each image, or all with those of an image in "
        "one batch, for which image and repeated captions are encoded once"
    )
    positives: Literal["own", "identical"] = Field(
        description="what an anchor is aligned with: its own pair, or every pair of the same caption or image"
    )
    lr: Number = Field(gt=0, allow_inf_nan=False)
    head_lr: Number = Field(
        ge=0, allow_inf_nan=False, description="learning rate of untrained heads; 0: the same as lr"
    )
    weight_decay: Number = Field(ge=0, allow_inf_nan=False)
    warmup_steps: Count = Field(ge=0, le=10**9)
    grad_clip: Number = Field(gt=0, allow_inf_nan=False)
    logit_scale: Number = Field(ge=-10, le=10, description="natural logarithm of s, fixed")
    crop_scale: Number = Field(gt=0, le=1, description="smallest area share of the random crop; 1: no augmentation")
    orientations: Orientations = Field(
        description="of the eight turns and mirror images that a training image is drawn in; 1: as it is, 2: and "
        "mirrored, 4: both also upside down. Where a caption names a direction, its image stays as it is"
    )
    feature_dropout: Number = Field(ge=0, lt=1, description="on the cached features of frozen trunks")
    injected_rate: Number = Field(
        ge=0, le=1, description="share of training captions swapped for another image's, to audit the elimination"
    )
    leakage: Literal["drop", "keep"] = Field(
        description="what happens to training images that are near-duplicates of evaluation images"
    )
    precision: Literal["float32", "bfloat16", "float16"]
    chunk_size: Count = Field(
        ge=0, le=1_000_000, description="pairs that a process holds at a time; 0: its whole share of a batch"
    )
    length_groups: Count = Field(
        ge=1, le=1000, description="in which a batch's captions are encoded, by their length; 1: all at once"
    )
    processes: Count = Field(ge=1, le=100_000, description="that share a batch, one an accelerator")
    compile: bool = Field(description="translate the towers by torch.compile first, which takes minutes")
    tf32: bool = Field(description="round float32 products to 10 bits where an accelerator does so faster")
    flush_denormals: bool = Field(
        description="count numbers below 1e-38 as 0: processors take many times as long for them, and a trained model "
        "has plenty"
    )
    device: str
    threads: Count = Field(ge=1, le=1024, description="CPU threads: part of the recipe, sums depend on it")


class EbaParams(Section):
    """`eba`: eliminate before align (method: EBA)."""

    scheme: Literal["none", "coupled", "decoupled"]
    drop_ratio: Number = Field(ge=0, lt=1)
    start_epoch: Count = Field(ge=0, le=10_000)
    bank: Literal["filled", "reference"]
    bank_size: Literal["epoch"] | Annotated[Count, Field(ge=1, le=10**9)] = Field(
        description="entries, or one epoch of the corpus"
    )


class KeywordsParams(Section):
    """`keywords`: mining (method: KER 1)."""

    size: Count = Field(ge=1, le=1_000_000)
    min_count: Count = Field(ge=1)
    file: str = Field(description="a list of one's own, one word a line; '' mines them")


class KerParams(Section):
    """`ker`: keyword explicit reasoning (method: KER)."""

    enabled: bool
    weight: Number = Field(ge=0, le=1e6)
    layers: Count = Field(ge=0, le=64)
    mask_ratio: Number = Field(ge=0, le=1)
    alignment: Literal["token", "reference"]
    vocabulary: Literal["keywords", "full"]


class LocalParams(Section):
    """`local`: the local similarity in training and export (method: Similarity)."""

    loss: Number = Field(ge=0, le=1e6, description="weight of the local cross-entropy; 0: a plain CLIP fine-tune")
    mask_padding: bool
    precision: Literal["float32", "bfloat16"]


class FusionParams(Section):
    """`fusion`: how global and local similarity are added up at evaluation (method: Similarity)."""

    global_weight: Number = Field(ge=0, le=1e6)
    local_weight: Number = Field(ge=0, le=1e6)
    standardise: bool = Field(description="divide S and L by their standard deviation on validation before fusion")


class SarParams(Section):
    """`sar`: sort after reversed retrieval (method: SAR)."""

    method: Literal["auto", "none", "sort", "weighted", "soft", "querybank", "sinkhorn"]
    candidates: Count = Field(
        ge=1, le=100_000, description="K: top items per query that are re-ranked by sort and weighted"
    )
    bank_size: Count = Field(
        ge=0, le=1_000_000, description="training queries of each side whose similarities are exported for querybank"
    )
    weight_forward: Number = Field(ge=0, le=1e6, allow_inf_nan=False, description="W1 of weighted")
    weight_reverse: Number = Field(ge=0, le=1e6, allow_inf_nan=False, description="W2 of weighted")
    decay: Number = Field(ge=0, le=1e3, allow_inf_nan=False, description="xi of weighted")
    strength: Annotated[Number, AfterValidator(_moderate)] = Field(
        ge=0,
        description="lambda of soft and querybank, in validation standard deviations; .inf: reversed retrieval alone",
    )
    beta: Number = Field(
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="inverse temperature of soft, querybank and sinkhorn, per standard deviation of validation",
    )
    iterations: Count = Field(ge=1, le=10_000, description="of sinkhorn")


class ArchiveParams(Section):
    """`archive.<name>`: images that a trained model makes searchable; the name is that of the model's corpus."""

    variant: str
    seed: int = Field(ge=0)
    images: str | list[str] = Field(description="folder, file, zip or pattern; several as a list")
    tokens: bool = Field(description="keep image tokens, for a faster second stage of searches")


class TrainingConfig(Section):
    """Everything that shapes one training: what `configure` resolves and `train` reads.

    Attributes:
        eba: None with the scheme none, so that what would not be used cannot change a hash.
        ker: None where it is not enabled.
    """

    corpus: str
    variant: str
    model: ModelParams
    train: TrainParams
    eba: EbaParams | None
    ker: KerParams | None
    local: LocalParams


class EvaluationConfig(Section):
    """What happens after the towers have run: changing it never causes a training."""

    fusion: FusionParams
    sar: SarParams


def parse(model: type[Model], values: Any, where: str) -> Model:
    """Validate `values` as `model`; `where` names the place in the message.

    Raises:
        IebakerError: naming every key, its value and what is expected; for an unknown key the nearest known one.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join([where, *map(str, problem["loc"])]).strip(".")
            if problem["type"] == "extra_forbidden":
                lines.append(
                    f"{key}: no such key; {nearest(str(problem['loc'][-1]), _keys(model, problem['loc'][:-1]))}"
                )
            elif problem["type"] == "missing":
                lines.append(f"{key}: is missing")
            else:
                message = problem["msg"].removeprefix("Value error, ")
                lines.append(f"{key}: {message} (given: {_shortened(problem['input'])})")
        raise IebakerError("params: " + "; ".join(lines)) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """What to write instead of an unknown name: the nearest known one, or all where none is near and they are few."""
    known = sorted(known)
    if close := difflib.get_close_matches(name, known, n=1):
        return f"did you mean {close[0]}?"
    return f"there are {', '.join(known)}" if len(known) <= SHOWN_KEYS else f"there are {len(known)} others"


def _keys(model: type[BaseModel], location: Iterable[int | str]) -> list[str]:
    """Fields of the section at `location` within `model`."""
    for name in location:
        field = model.model_fields.get(str(name))
        sections = [kind for kind in _types(field.annotation) if issubclass(kind, BaseModel)] if field else []
        if sections:
            model = sections[0]
    return list(model.model_fields)


def _types(annotation: Any) -> list[type]:
    """The classes that an annotation is made of."""
    parts = [kind for part in get_args(annotation) for kind in _types(part)]
    return parts + ([annotation] if isinstance(annotation, type) and not get_args(annotation) else [])


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
