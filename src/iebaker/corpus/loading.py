"""A corpus in memory: its members' manifests and memory-mapped pixels, and the pairs of an epoch."""

import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from iebaker import images
from iebaker.corpus import duplicates
from iebaker.corpus.manifest import FILE as MANIFEST_FILE
from iebaker.corpus.streams import stream
from iebaker.errors import IebakerError

VIEW_FILE = "view.json"
KEYWORDS_FILE = "keywords.txt"
PIXELS_FILE = "pixels.npy"
SUMMARY_FILE = "summary.json"


@dataclass(frozen=True)
class StoredImage:
    """One image of a corpus.

    Attributes:
        pixels: (S, S, 3) uint8, memory-mapped.
        orientation: 0 as it was taken; else which of the eight turns and mirror images of a square it is.
    """

    benchmark: str
    image_id: int
    pixels: np.ndarray = field(compare=False, repr=False)
    orientation: int = 0

    def place(self) -> tuple[str, int, int]:
        """Benchmark, image id and orientation: what tells images apart."""
        return self.benchmark, self.image_id, self.orientation

    def oriented(self, orientation: int) -> "StoredImage":
        """This image, taken as it is, in another orientation, as `images.oriented` numbers them."""
        return replace(self, pixels=images.oriented(self.pixels, orientation), orientation=orientation)


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

    def images(self, image_ids: np.ndarray) -> list[StoredImage]:
        """The images of these ids; their pixels are not read before use."""
        return [StoredImage(self.name, int(image_id), self.pixels[image_id]) for image_id in image_ids]


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


def write_view(prepared: Path, keywords: Path, folder: Path) -> None:
    """Write a corpus's view of one benchmark, which `open_corpus` reads.

    Pixels stay where they are; their checksum makes the view change when they do.

    Args:
        prepared: of the benchmark, as the stage `prepare` writes it.
        keywords: of the benchmark, as the stage `mine_keywords` writes it.
        folder: to fill.
    """
    shutil.copyfile(prepared / MANIFEST_FILE, folder / MANIFEST_FILE)
    shutil.copyfile(keywords / KEYWORDS_FILE, folder / KEYWORDS_FILE)
    summary = json.loads((prepared / SUMMARY_FILE).read_text())
    view = {"benchmark": prepared.name, "pixels_sha256": summary["pixels_sha256"]}
    (folder / VIEW_FILE).write_text(json.dumps(view, indent=2) + "\n")


def open_corpus(folder: Path, prepared: Path) -> list[Member]:
    """Open every member of a corpus; an empty folder is a benchmark that is not a member.

    Args:
        folder: one sub-folder a benchmark, as the stage `join` writes them.
        prepared: one sub-folder a benchmark, as the stage `prepare` writes them.

    Raises:
        IebakerError: if there is no member, its pixels are not those that the corpus was joined with, or sizes differ.
    """
    members = []
    for view_file in sorted(folder.glob(f"[!.]*/{VIEW_FILE}")):  # not what a killed stage left
        view = json.loads(view_file.read_text())
        name = view_file.parent.name
        summary = json.loads((prepared / name / SUMMARY_FILE).read_text())
        if summary["pixels_sha256"] != view["pixels_sha256"]:
            raise IebakerError(
                f"{prepared / name}: its images are not those that {view_file} was made from; run `dvc repro join`"
            )
        keywords = (view_file.parent / KEYWORDS_FILE).read_text().split()
        pixels = np.load(prepared / name / PIXELS_FILE, mmap_mode="r")
        members.append(
            Member(name, pd.read_parquet(view_file.parent / MANIFEST_FILE), pixels, keywords, view["pixels_sha256"])
        )
    if len(sizes := {member.pixels.shape[1]: member.name for member in members}) > 1:
        found = ", ".join(f"{name} {size}" for size, name in sizes.items())
        raise IebakerError(
            f"{folder}: images of different sizes ({found} pixels); set benchmark.<name>.image_size alike"
        )
    if not members:
        raise IebakerError(
            f"{folder}: no benchmark in it; are `corpus.{folder.name}.benchmarks` among `benchmarks` in params.yaml?"
        )
    return members


def split_of(member: Member, split: str) -> Split:
    """The images and captions of `split`, in manifest order."""
    rows = member.manifest[member.manifest["split"] == split]
    image_ids, image_of_text = np.unique(rows["image_id"].to_numpy(), return_inverse=True)
    return Split(image_ids, rows["caption_id"].to_numpy(), rows["caption"].tolist(), image_of_text)


def images_of_pairs(members: list[Member], pairs: pd.DataFrame) -> list[StoredImage]:
    """The image of each pair."""
    places = zip(pairs["member"].to_numpy(), pairs["image_id"].to_numpy(), strict=True)
    return [members[member].images([image_id])[0] for member, image_id in places]


def merged_keywords(members: list[Member]) -> list[str]:
    """The union of the members' key concepts, sorted (method: KER 1)."""
    return sorted({word for member in members for word in member.keywords})


def training_pairs(
    members: Sequence[Member], injected_rate: float = 0.0, seed: int = 0, leakage: str = "drop"
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All (image, caption) pairs of the training splits that may be trained on.

    Images that are near-duplicates of any validation or test image of the corpus are left out (method: Evaluation,
    leakage). With `injected_rate`, that share of the captions is exchanged between images, so that the elimination
    can be audited on any benchmark; `weak` marks them "injected".

    Args:
        leakage: "keep" leaves no image out, as published.

    Returns:
        The pairs (member, image_id, caption, weak), and the offenders left out, as `duplicates.offenders` lists them.
    """
    offenders = duplicates.offenders({member.name: member.manifest for member in members})
    if leakage == "keep":
        offenders = offenders.iloc[:0]
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
    generator = stream(seed, "injection")
    chosen = np.sort(generator.permutation(len(pairs))[: round(rate * len(pairs))])
    donors = generator.permutation(chosen)
    captions = pairs["caption"].to_numpy(copy=True)
    weak = pairs["weak"].to_numpy(copy=True)
    own = pairs.groupby(["member", "image_id"])["caption"].agg(frozenset)
    keys = list(zip(pairs["member"], pairs["image_id"], strict=True))
    for row, donor in zip(chosen, donors, strict=True):
        caption = pairs["caption"].iat[donor]
        if caption not in own[keys[row]]:
            captions[row], weak[row] = caption, "injected"
    return pairs.assign(caption=captions, weak=weak)


def epoch_batches(
    pairs: pd.DataFrame, batch_size: int, mode: str, generator: np.random.Generator
) -> Iterator[np.ndarray]:
    """Shuffled batches of row numbers of `pairs` for one epoch, the last incomplete batch dropped.

    Args:
        mode: "all", every pair once (as published); "one_per_image", one caption drawn for each image; or
            "whole_images", every pair once, those of an image one behind the other.

    Raises:
        IebakerError: if the epoch is shorter than one batch.
    """
    order = generator.permutation(len(pairs))
    if mode == "one_per_image":
        # the first of an image's pairs in a random order is a uniform draw among them
        image = pairs.groupby(["member", "image_id"], sort=False).ngroup().to_numpy()[order]
        order = order[np.sort(np.unique(image, return_index=True)[1])]
    if mode == "whole_images":
        image = pairs.groupby(["member", "image_id"], sort=False).ngroup().to_numpy()
        order = np.argsort(generator.permutation(image.max() + 1)[image], kind="stable")
    steps = len(order) // batch_size
    if steps == 0:
        raise IebakerError(f"train.batch_size={batch_size} exceeds the {len(order)} pairs of an epoch; lower it")
    yield from order[: steps * batch_size].reshape(steps, batch_size)


def pairs_per_epoch(pairs: pd.DataFrame, mode: str) -> int:
    """How many pairs an epoch visits before the incomplete batch is dropped."""
    return int(pairs.groupby(["member", "image_id"]).ngroups) if mode == "one_per_image" else len(pairs)
