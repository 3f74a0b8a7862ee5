"""What a benchmark hides: near-duplicate images, leakage into training, identical captions, caption ceilings.

The rule (method: Evaluation, leakage): two images are near-duplicates if their 64-bit DCT perceptual hashes differ
in at most 8 bits; across benchmarks also if their sets of captions are equal.
"""

from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd

from iebaker.datasets.manifest import SPLITS, images_of
from iebaker.metrics.ceiling import caption_ceiling

MAX_DISTANCE = 8
BLOCK_ROWS = 64
LISTED_PAIRS = 50
PAIR_COLUMNS = ["left", "right", "rule", "distance"]
OFFENDER_COLUMNS = [
    "benchmark", "image_id", "filename", "because_benchmark", "because_filename", "because_split", "rule", "distance"
]  # fmt: skip


def gather_images(manifests: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row per image of all manifests: benchmark, image_id, filename, split, scene, phash, captions (frozenset)."""
    parts = []
    for benchmark, manifest in manifests.items():
        captions = manifest.groupby("image_id")["caption"].agg(frozenset)
        images = images_of(manifest)
        parts.append(images.assign(benchmark=benchmark, captions=captions.loc[images["image_id"]].to_numpy()))
    return pd.concat(parts, ignore_index=True)


def close_hashes(left: np.ndarray, right: np.ndarray, max_distance: int = MAX_DISTANCE) -> np.ndarray:
    """All pairs whose hashes differ in at most `max_distance` bits.

    Args:
        left: (N,) uint64.
        right: (M,) uint64.

    Returns:
        (P, 3) int64: index into `left`, index into `right`, number of different bits; ordered by both indices.
    """
    found = [np.empty((0, 3), np.int64)]
    for start in range(0, len(left), BLOCK_ROWS):
        distances = np.bitwise_count(left[start : start + BLOCK_ROWS, None] ^ right[None, :])
        rows, columns = np.nonzero(distances <= max_distance)
        found.append(np.column_stack([rows + start, columns, distances[rows, columns]]).astype(np.int64))
    return np.concatenate(found)


def equal_captions(left: pd.DataFrame, right: pd.DataFrame) -> np.ndarray:
    """All pairs of images of different benchmarks with equal caption sets: (P, 3) like `close_hashes`, distance -1."""
    places: dict[frozenset, list[int]] = {}
    for index, captions in enumerate(right["captions"]):
        places.setdefault(captions, []).append(index)
    names = left["benchmark"].to_numpy(), right["benchmark"].to_numpy()
    pairs = [
        (row, column, -1)
        for row, captions in enumerate(left["captions"])
        for column in places.get(captions, ())
        if names[0][row] != names[1][column]
    ]
    return np.array(pairs, np.int64).reshape(-1, 3)


def near_duplicates(left: pd.DataFrame, right: pd.DataFrame) -> pd.DataFrame:
    """All near-duplicate pairs between two tables of images (see `gather_images`).

    Returns:
        left and right (positions in the tables), rule ("phash" or "captions") and distance (bits; -1 for "captions").
        A pair that fulfils both is listed once, as "phash".
    """
    by_hash = close_hashes(left["phash"].to_numpy(np.uint64), right["phash"].to_numpy(np.uint64))
    by_captions = equal_captions(left, right)
    pairs = pd.DataFrame(np.concatenate([by_hash, by_captions]), columns=["left", "right", "distance"])
    pairs["rule"] = np.repeat(["phash", "captions"], [len(by_hash), len(by_captions)])
    pairs = pairs.drop_duplicates(["left", "right"]).sort_values(["left", "right"], ignore_index=True)
    return pairs[PAIR_COLUMNS]


def offenders(manifests: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Training images that must not be trained on: near-duplicates of a validation or test image of any benchmark.

    Args:
        manifests: the benchmarks that are trained and evaluated together, by name.

    Returns:
        One row per training image (columns `OFFENDER_COLUMNS`), ordered by benchmark and image. The reason given is
        its nearest evaluation image, "captions" (distance -1) only where no hash is near.
    """
    images = gather_images(manifests)
    is_train = images["split"] == "train"
    train, held_out = images[is_train].reset_index(drop=True), images[~is_train].reset_index(drop=True)
    pairs = near_duplicates(train, held_out)
    pairs = pairs.sort_values(["left", "rule", "distance", "right"], ascending=[True, False, True, True])
    pairs = pairs.drop_duplicates("left")
    dropped = train.iloc[pairs["left"]].reset_index(drop=True)
    because = held_out.iloc[pairs["right"]].reset_index(drop=True).add_prefix("because_")
    reasons = pairs[["rule", "distance"]].reset_index(drop=True)
    return pd.concat([dropped, because, reasons], axis=1)[OFFENDER_COLUMNS]


def keep(manifest: pd.DataFrame, benchmark: str, dropped: pd.DataFrame) -> pd.DataFrame:
    """The rows of a benchmark's manifest without the images that `offenders` lists; ids stay as they are."""
    image_ids = dropped.loc[dropped["benchmark"] == benchmark, "image_id"]
    return manifest[~manifest["image_id"].isin(image_ids)]


def audit(manifests: dict[str, pd.DataFrame], members: dict[str, list[str]]) -> dict:
    """The report on all benchmarks and corpora, ready for JSON.

    Args:
        manifests: by benchmark.
        members: the benchmarks of each corpus; a corpus with a benchmark that has no manifest is left out.

    Returns:
        `rule`; per benchmark the near-duplicates within and across splits, identical captions and caption ceilings;
        per pair of benchmarks the near-duplicates between them; per corpus the training images that are dropped.
    """
    images = {name: gather_images({name: manifest}) for name, manifest in manifests.items()}
    return {
        "rule": {"phash_max_distance": MAX_DISTANCE, "captions": "equal sets, across benchmarks only"},
        "benchmarks": {
            name: {
                "images": count_splits(images[name]["split"]),
                "captions": count_splits(manifest["split"]),
                "near_duplicates": duplicates_by_split(images[name]),
                "identical_captions": {split: identical_captions(rows) for split, rows in by_split(manifest)},
                "ceiling": {split: split_ceiling(rows) for split, rows in by_split(manifest) if split != "train"},
            }
            for name, manifest in manifests.items()
        },
        "across_benchmarks": {
            f"{left}-{right}": describe_pairs(images[left], images[right], near_duplicates(images[left], images[right]))
            for left, right in combinations(manifests, 2)
        },
        "corpora": {
            corpus: corpus_view({name: manifests[name] for name in names})
            for corpus, names in members.items()
            if set(names) <= set(manifests)
        },
    }


def count_splits(splits: pd.Series) -> dict[str, int]:
    """Number of rows of each split."""
    return {split: int((splits == split).sum()) for split in SPLITS}


def by_split(manifest: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each split that has any, in the order of SPLITS."""
    parts = [(split, manifest[manifest["split"] == split]) for split in SPLITS]
    return [(split, rows) for split, rows in parts if len(rows)]


def duplicates_by_split(images: pd.DataFrame) -> dict[str, dict]:
    """Near-duplicate pairs of one benchmark, within each split ("test") and across splits ("train-test")."""
    pairs = near_duplicates(images, images)
    pairs = pairs[pairs["left"] < pairs["right"]]
    order = images["split"].map(SPLITS.index).to_numpy()
    left, right = order[pairs["left"]], order[pairs["right"]]
    return {
        SPLITS[low] if low == high else f"{SPLITS[low]}-{SPLITS[high]}": describe_pairs(
            images, images, pairs[(np.minimum(left, right) == low) & (np.maximum(left, right) == high)]
        )
        for low in range(len(SPLITS))
        for high in range(low, len(SPLITS))
    }


def describe_pairs(left: pd.DataFrame, right: pd.DataFrame, pairs: pd.DataFrame) -> dict:
    """Count pairs by rule, and list the nearest with names and splits, at most LISTED_PAIRS."""
    shown = pairs.sort_values(["distance", "left", "right"]).head(LISTED_PAIRS)
    listed = [
        {
            "left": f"{left['split'].iat[pair.left]}/{left['filename'].iat[pair.left]}",
            "right": f"{right['split'].iat[pair.right]}/{right['filename'].iat[pair.right]}",
            "rule": pair.rule,
            "distance": pair.distance,
        }
        for pair in shown.itertuples()
    ]
    return {
        "pairs": len(pairs),
        "by_rule": dict(sorted(Counter(pairs["rule"]).items())),
        "left_images": int(pairs["left"].nunique()),
        "right_images": int(pairs["right"].nunique()),
        "listed": listed,
    }


def identical_captions(rows: pd.DataFrame) -> dict[str, int]:
    """How often captions of one split repeat, compared as published.

    Returns:
        distinct: different captions; images_repeating: images that carry a caption more than once;
        images_with_one: images of which all captions are the same; captions_shared: captions that also describe
        another image.
    """
    per_image = rows.groupby("image_id")["caption"].agg(["size", "nunique"])
    images_of_caption = rows.groupby("caption")["image_id"].transform("nunique")
    return {
        "distinct": int(rows["caption"].nunique()),
        "images_repeating": int((per_image["nunique"] < per_image["size"]).sum()),
        "images_with_one": int(((per_image["nunique"] == 1) & (per_image["size"] > 1)).sum()),
        "captions_shared": int((images_of_caption > 1).sum()),
    }


def split_ceiling(rows: pd.DataFrame) -> dict[str, float]:
    """The caption ceiling of one split (see `metrics.ceiling`)."""
    image_of_text = np.unique(rows["image_id"], return_inverse=True)[1]
    return caption_ceiling(rows["caption"].tolist(), image_of_text)


def corpus_view(manifests: dict[str, pd.DataFrame]) -> dict:
    """What the members of one corpus lose when they are trained together, every dropped image listed."""
    dropped = offenders(manifests)
    view = {}
    for name, manifest in manifests.items():
        own = dropped[dropped["benchmark"] == name]
        train = manifest[manifest["split"] == "train"]
        view[name] = {
            "train_images": int(train["image_id"].nunique()),
            "dropped_images": len(own),
            "dropped_captions": len(train) - len(keep(train, name, dropped)),
            "because": dict(sorted(Counter(own["because_benchmark"] + "/" + own["because_split"]).items())),
            "by_rule": dict(sorted(Counter(own["rule"]).items())),
            "dropped": own.drop(columns="benchmark").to_dict("records"),
        }
    return view
