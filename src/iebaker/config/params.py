"""Typed parameters: one model a section of params.yaml, unknown keys refused.

PyYAML reads `1e-5` as a string and command-line overrides write `3e-05`; the declared field types turn both into the
number that is meant. What params.yaml holds has no default here: no object ever holds a number that nobody set.
Nothing here knows of files or stages.
"""

import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from iebaker.errors import IebakerError

Model = TypeVar("Model", bound=BaseModel)


class Section(BaseModel):
    """A section of params.yaml: immutable, and every key must be known."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class BenchmarkParams(Section):
    """`benchmark.<name>`: where a benchmark comes from and how it is laid out. Only `source` must be given."""

    source: Annotated[str, Field(min_length=1)] | list[Annotated[str, Field(min_length=1)]] = Field(
        description="synthetic; or one or several http(s) URLs, local folders, annotation files and zips of images"
    )
    sha256: str | list[str] = Field("", description="checksum of each URL or file of `source`, in order; '' unknown")
    format: Literal["karpathy", "nwpu", "parquet", "csv"] = "karpathy"
    annotations: str = Field("", description="annotation file among what `source` gives; '' finds it")
    images: str = Field("", description="folder or zip of images among what `source` gives; '' looks everywhere")
    image_size: PositiveInt = Field(224, le=2048, description="side in pixels of the stored square images")
    validation_share: float = Field(
        0.0, ge=0, lt=1, description="share of train held out by a hash of the file name; for sources without val"
    )
    missing: Literal["refuse", "exclude"] = Field(
        "refuse", description="captions without image, images without caption, empty captions, unreadable images"
    )

    @property
    def checked_sources(self) -> list[tuple[str, str]]:
        """Each place of `source` with its checksum, '' where unknown."""
        sources = [self.source] if isinstance(self.source, str) else self.source
        checksums = [self.sha256] if isinstance(self.sha256, str) else self.sha256
        return list(zip(sources, checksums if any(checksums) else [""] * len(sources), strict=True))

    @model_validator(mode="after")
    def _checksums_fit(self) -> "BenchmarkParams":
        sources = 1 if isinstance(self.source, str) else len(self.source)
        checksums = [self.sha256] if isinstance(self.sha256, str) else self.sha256
        if any(checksums) and len(checksums) != sources:
            raise ValueError(f"sha256 has {len(checksums)} entries, source {sources}; give one each, '' if unknown")
        for checksum in filter(None, checksums):
            if not re.fullmatch("[0-9a-f]{64}", checksum):
                raise ValueError(f"sha256={checksum!r} is not a SHA-256 (64 lower-case hexadecimal digits)")
        return self


class SyntheticParams(Section):
    """`synthetic`: the embedded benchmark of drawn overhead scenes."""

    train: PositiveInt
    val: PositiveInt
    test: PositiveInt
    image_size: int = Field(ge=32)
    weak_rate: float = Field(ge=0, le=1, description="share of training captions replaced by weakly correlated ones")
    seed: int = Field(ge=0)


class ModelParams(Section):
    """`model`: the towers, by open_clip's names."""

    name: str = Field(
        description="an open_clip model name, hf-hub:..., local-dir:..., or a config of iebaker/model/configs"
    )
    pretrained: str = Field(description="open_clip pretrained tag or local checkpoint; '' trains from scratch")
    lock_image: bool = Field(description="freeze the image trunk; its projection still trains")
    lock_text: bool = Field(description="freeze the text trunk; its projection still trains")


class TrainParams(Section):
    """`train`: the recipe (method: Objective)."""

    epochs: PositiveInt
    batch_size: int = Field(ge=2, description="a contrastive loss needs at least two pairs")
    pairs: Literal["all", "one_per_image"]
    lr: float = Field(gt=0, allow_inf_nan=False)
    head_lr: float = Field(ge=0, allow_inf_nan=False, description="learning rate of untrained heads; 0: the same as lr")
    weight_decay: float = Field(ge=0, allow_inf_nan=False)
    warmup_steps: int = Field(ge=0)
    grad_clip: float = Field(gt=0)
    logit_scale: float = Field(ge=-10, le=10, description="natural logarithm of s, fixed")
    crop_scale: float = Field(gt=0, le=1, description="smallest area share of the random crop; 1: no augmentation")
    flip: bool
    feature_dropout: float = Field(ge=0, lt=1, description="on the cached features of frozen trunks")
    injected_rate: float = Field(
        ge=0, le=1, description="share of training captions swapped for another image's, to audit the elimination"
    )
    leakage: Literal["drop", "keep"] = Field(
        description="what happens to training images that are near-duplicates of evaluation images"
    )
    precision: Literal["float32", "bfloat16", "float16"]
    device: str
    threads: int = Field(ge=1, description="CPU threads: part of the recipe, sums depend on it")


class EbaParams(Section):
    """`eba`: eliminate before align (method: EBA)."""

    scheme: Literal["none", "coupled", "decoupled"]
    drop_ratio: float = Field(ge=0, lt=1)
    start_epoch: int = Field(ge=0)
    bank: Literal["filled", "reference"]
    bank_size: Literal["epoch"] | PositiveInt = Field(description="entries, or one epoch of the corpus")


class KeywordsParams(Section):
    """`keywords`: mining (method: KER 1)."""

    size: PositiveInt
    min_count: PositiveInt
    file: str = Field(description="a list of one's own, one word a line; '' mines them")


class KerParams(Section):
    """`ker`: keyword explicit reasoning (method: KER)."""

    enabled: bool
    weight: float = Field(ge=0)
    layers: int = Field(ge=0)
    mask_ratio: float = Field(ge=0, le=1)
    alignment: Literal["token", "reference"]
    vocabulary: Literal["keywords", "full"]


class LocalParams(Section):
    """`local`: the local similarity in training and export (method: Similarity)."""

    loss: float = Field(ge=0, description="weight of the local cross-entropy; 0: a plain CLIP fine-tune")
    mask_padding: bool
    precision: Literal["float32", "bfloat16"]


class FusionParams(Section):
    """`fusion`: how global and local similarity are added up at evaluation (method: Similarity)."""

    global_weight: float = Field(ge=0)
    local_weight: float = Field(ge=0)
    standardise: bool = Field(description="divide S and L by their standard deviation on validation before fusion")


class SarParams(Section):
    """`sar`: sort after reversed retrieval (method: SAR)."""

    method: Literal["auto", "none", "sort", "weighted", "soft", "querybank", "sinkhorn"]
    candidates: PositiveInt = Field(description="K: top items per query that are re-ranked by sort and weighted")
    bank_size: int = Field(
        ge=0, description="training queries of each side whose similarities are exported for querybank"
    )
    weight_forward: float = Field(ge=0, allow_inf_nan=False, description="W1 of weighted")
    weight_reverse: float = Field(ge=0, allow_inf_nan=False, description="W2 of weighted")
    decay: float = Field(ge=0, allow_inf_nan=False, description="xi of weighted")
    strength: float = Field(
        ge=0,
        description="lambda of soft and querybank, in validation standard deviations; .inf: reversed retrieval alone",
    )
    beta: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="inverse temperature of soft, querybank and sinkhorn, per standard deviation of validation",
    )
    iterations: PositiveInt = Field(description="of sinkhorn")


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
        IebakerError: naming every key, its value and what is expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = []
        for problem in error.errors():
            key = ".".join([where, *map(str, problem["loc"])]).strip(".")
            given = "" if problem["type"] == "missing" else f" (given: {problem['input']!r})"
            lines.append(f"{key}: {problem['msg']}{given}")
        raise IebakerError("params: " + "; ".join(lines)) from error
