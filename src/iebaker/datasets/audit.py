"""The report on what benchmarks hide: near-duplicate images, leakage into training, identical captions, ceilings."""

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from iebaker.corpus.duplicates import MAX_DISTANCE, gather_images, keep, near_duplicates, offenders
from iebaker.corpus.manifest import SPLITS
from iebaker.metrics.ceiling import caption_ceiling

LISTED_PAIRS = 50


def audit(manifests: dict[str, pd.DataFrame], members: dict[str, list[str]]) -> dict[str, Any]:
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


def duplicates_by_split(images: pd.DataFrame) -> dict[str, dict[str, Any]]:
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


def describe_pairs(left: pd.DataFrame, right: pd.DataFrame, pairs: pd.DataFrame) -> dict[str, Any]:
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


def corpus_view(manifests: dict[str, pd.DataFrame]) -> dict[str, Any]:
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
