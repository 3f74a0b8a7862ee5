"""Near-duplicate images, and which training images they forbid.

The rule (method: Evaluation, leakage): two images are near-duplicates if their 64-bit DCT perceptual hashes differ
in at most 8 bits; across benchmarks also if their sets of captions are equal.
"""

import numpy as np
import pandas as pd

from iebaker.corpus.manifest import images_of

MAX_DISTANCE = 8
BLOCK_ROWS = 64
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
    places: dict[frozenset[str], list[int]] = {}
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
