"""A corpus in memory: its members' manifests and memory-mapped pixels, and the pairs of an epoch."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from iebaker.datasets import audit

VIEW_FILE = "view.json"
MANIFEST_FILE = "manifest.parquet"
KEYWORDS_FILE = "keywords.txt"
PIXELS_FILE = "pixels.npy"


class CorpusError(ValueError):
    """A corpus folder is incomplete, or does not belong to the prepared images beside it."""


@dataclass(frozen=True)
class Member:
    """One benchmark of a corpus: captions and images.

    Attributes:
        manifest: one row per (image, caption).
        pixels: (N, S, S, 3) uint8, memory-mapped; row `image_id`.
        keywords: the benchmark's mined key concepts, sorted.
        pixels_sha256: of the pixels' bytes.
    """

    name: str
    manifest: pd.DataFrame
    pixels: np.ndarray
    keywords: list[str]
    pixels_sha256: str


@dataclass(frozen=True)
class Split:
    """The images and captions of one split, in the order of rows and columns of its similarity matrices.

    Attributes:
        image_ids: (N_image,) rows of the member's pixels.
        captions: N_text strings.
        image_of_text: (N_text,) column of each caption's own image.
    """

    image_ids: np.ndarray
    caption_ids: np.ndarray
    captions: list[str]
    image_of_text: np.ndarray


def open_corpus(folder: Path, prepared: Path) -> list[Member]:
    """Open every member of a corpus; an empty folder is a benchmark that is not a member.

    Args:
        folder: one sub-folder a benchmark, as the stage `join` writes them.
        prepared: one sub-folder a benchmark, as the stage `prepare` writes them.

    Raises:
        CorpusError: if there is no member, its pixels are not those that the corpus was joined with, or sizes differ.
    """
    members = []
    for view_file in sorted(folder.glob(f"[!.]*/{VIEW_FILE}")):  # not what a killed stage left
        view = json.loads(view_file.read_text())
        name = view_file.parent.name
        summary = json.loads((prepared / name / "summary.json").read_text())
        if summary["pixels_sha256"] != view["pixels_sha256"]:
            raise CorpusError(
                f"{prepared / name}: its images are not those that {view_file} was made from; run `dvc repro join`"
            )
        keywords = (view_file.parent / KEYWORDS_FILE).read_text().split()
        pixels = np.load(prepared / name / PIXELS_FILE, mmap_mode="r")
        members.append(
            Member(name, pd.read_parquet(view_file.parent / MANIFEST_FILE), pixels, keywords, view["pixels_sha256"])
        )
    if len(sizes := {member.pixels.shape[1]: member.name for member in members}) > 1:
        found = ", ".join(f"{name} {size}" for size, name in sizes.items())
        raise CorpusError(
            f"{folder}: images of different sizes ({found} pixels); set data.<benchmark>.image_size alike"
        )
    if not members:
        raise CorpusError(
            f"{folder}: no benchmark in it; is `members.{folder.name}` among `benchmarks` in params.yaml?"
        )
    return members


def split_of(member: Member, split: str) -> Split:
    """The images and captions of `split`, in manifest order."""
    rows = member.manifest[member.manifest["split"] == split]
    image_ids, image_of_text = np.unique(rows["image_id"].to_numpy(), return_inverse=True)
    return Split(image_ids, rows["caption_id"].to_numpy(), rows["caption"].tolist(), image_of_text)


def merged_keywords(members: list[Member]) -> list[str]:
    """The union of the members' key concepts, sorted (method: KER 1)."""
    return sorted({word for member in members for word in member.keywords})


def training_pairs(
    members: list[Member], injected_rate: float = 0.0, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All (image, caption) pairs of the training splits that may be trained on.

    Images that are near-duplicates of any validation or test image of the corpus are left out (method: Evaluation,
    leakage). With `injected_rate`, that share of the captions is exchanged between images, so that the elimination
    can be audited on any benchmark; `weak` marks them "injected".

    Returns:
        The pairs (member, image_id, caption, weak), and the offenders left out, as `audit.offenders` lists them.
    """
    offenders = audit.offenders({member.name: member.manifest for member in members})
    parts = []
    for index, member in enumerate(members):
        manifest = member.manifest
        dropped = offenders.loc[offenders["benchmark"] == member.name, "image_id"]
        rows = manifest[(manifest["split"] == "train") & ~manifest["image_id"].isin(dropped)]
        parts.append(rows[["image_id", "caption", "weak"]].assign(member=index))
    pairs = pd.concat(parts, ignore_index=True)
    return inject_mismatches(pairs, injected_rate, seed), offenders


def inject_mismatches(pairs: pd.DataFrame, rate: float, seed: int) -> pd.DataFrame:
    """Give a share `rate` of the pairs a caption that belongs to another image, drawn among the shared captions.

    The captions of the chosen pairs are permuted among themselves; a pair that would receive a caption of its own
    image is left as it was.
    """
    if rate == 0:
        return pairs
    stream = np.random.default_rng(np.random.SeedSequence([seed, INJECTION_STREAM]))
    chosen = np.sort(stream.permutation(len(pairs))[: round(rate * len(pairs))])
    donors = stream.permutation(chosen)
    captions = pairs["caption"].to_numpy(copy=True)
    weak = pairs["weak"].to_numpy(copy=True)
    own = pairs.groupby(["member", "image_id"])["caption"].agg(frozenset)
    keys = list(zip(pairs["member"], pairs["image_id"], strict=True))
    for row, donor in zip(chosen, donors, strict=True):
        caption = pairs["caption"].iat[donor]
        if caption not in own[keys[row]]:
            captions[row], weak[row] = caption, "injected"
    return pairs.assign(caption=captions, weak=weak)


# one random stream per purpose: changing how one is used leaves the others as they were
(
    DATA_STREAM,
    AUGMENTATION_STREAM,
    MASKING_STREAM,
    BANK_STREAM,
    INJECTION_STREAM,
    WEIGHT_STREAM,
    DROPOUT_STREAM,
) = range(7)


def stream(seed: int, purpose: int) -> np.random.Generator:
    """The random stream of one purpose under one seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, purpose]))


def epoch_batches(
    pairs: pd.DataFrame, batch_size: int, mode: str, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Shuffled batches of row numbers of `pairs` for one epoch, the last incomplete batch dropped.

    Args:
        mode: "all", every pair once (as published), or "one_per_image", one caption drawn for each image.

    Raises:
        CorpusError: if the epoch is shorter than one batch.
    """
    order = generator.permutation(len(pairs))
    if mode == "one_per_image":
        # the first of an image's pairs in a random order is a uniform draw among them
        image = pairs.groupby(["member", "image_id"], sort=False).ngroup().to_numpy()[order]
        order = order[np.sort(np.unique(image, return_index=True)[1])]
    steps = len(order) // batch_size
    if steps == 0:
        raise CorpusError(f"train.batch_size={batch_size} exceeds the {len(order)} pairs of an epoch; lower it")
    yield from order[: steps * batch_size].reshape(steps, batch_size)


def pairs_per_epoch(pairs: pd.DataFrame, mode: str) -> int:
    """How many pairs an epoch visits before the incomplete batch is dropped."""
    return len(pairs) if mode == "all" else int(pairs.groupby(["member", "image_id"]).ngroups)
