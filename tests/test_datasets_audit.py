"""The audit: the near-duplicate rule against brute force, leakage in either direction, and the real captions."""

import functools
import json

import numpy as np
import pandas as pd
import pytest
from datasets_builders import RSICD, needs
from hypothesis import given, settings
from hypothesis import strategies as st

from iebaker.corpus import duplicates, manifest
from iebaker.datasets import audit
from iebaker.datasets.files import RawFiles
from iebaker.datasets.formats import karpathy, plain_csv
from iebaker.metrics.ceiling import caption_ceiling

hashes = st.lists(st.sampled_from([0, 0xFF, 0x1FF, 0xFFFF, 2**64 - 1, 2**63]), max_size=6)


def table(*images):
    """A manifest from (filename, split, phash, captions) a row."""
    rows = [
        (image_id, name, caption, split, "", "", phash)
        for image_id, (name, split, phash, captions) in enumerate(images)
        for caption in captions
    ]
    frame = pd.DataFrame(rows, columns=["image_id", "filename", "caption", "split", "scene", "weak", "phash"])
    frame.insert(1, "caption_id", np.arange(len(rows)))
    frame = frame.astype({"phash": np.uint64})
    manifest.validate(frame)
    return frame


@settings(deadline=None)
@given(hashes, hashes, st.integers(1, 3))
def test_close_hashes_against_brute_force(left, right, block):
    original, duplicates.BLOCK_ROWS = duplicates.BLOCK_ROWS, block
    found = duplicates.close_hashes(np.array(left, np.uint64), np.array(right, np.uint64))
    duplicates.BLOCK_ROWS = original
    expected = [(i, j, (a ^ b).bit_count()) for i, a in enumerate(left) for j, b in enumerate(right)]
    assert found.tolist() == [list(pair) for pair in expected if pair[2] <= 8]


FAR = [0x0, 0xFFFF0000FFFF0000, 0xF0F0F0F0F0F0F0F0, 0xAAAAAAAA55555555, 0x123456789ABCDEF0]


def test_eight_bits_are_near_and_nine_are_not():
    near, far = 0xFF, 0x1FF
    data = table(("near", "train", near, "a"), ("far", "train", far, "b"), ("t", "test", 0, "c"))
    dropped = duplicates.offenders({"one": data})
    assert dropped.to_dict("records") == [
        {
            "benchmark": "one",
            "image_id": 0,
            "filename": "near",
            "because_benchmark": "one",
            "because_filename": "t",
            "because_split": "test",
            "rule": "phash",
            "distance": 8,
        }
    ]
    assert duplicates.keep(data, "one", dropped)["filename"].tolist() == ["far", "t"]
    assert duplicates.keep(data, "other", dropped).equals(data)


def test_validation_counts_and_the_nearest_reason_is_given():
    data = table(("x", "train", 0, "a"), ("v", "val", 0b11, "b"), ("t", "test", 0b1, "c"))
    assert duplicates.offenders({"one": data})[["because_filename", "distance"]].to_numpy().tolist() == [["t", 1]]


def test_caption_sets_only_across_benchmarks():
    one = table(
        ("p", "train", FAR[0], ["a", "b", "b"]), ("q", "test", FAR[1], ["a", "b"]), ("r", "train", FAR[2], ["c"])
    )
    two = table(("s", "test", FAR[3], ["b", "a"]), ("t", "train", FAR[4], ["c", "d"]))
    assert duplicates.offenders({"one": one}).empty
    dropped = duplicates.offenders({"one": one, "two": two})
    assert dropped[["filename", "because_benchmark", "because_filename", "rule"]].to_numpy().tolist() == [
        ["p", "two", "s", "captions"]
    ]
    assert dropped["distance"].tolist() == [-1]


def test_benchmarks_leak_in_both_directions_and_ids_are_their_own():
    one = table(("p", "train", FAR[0], ["a"]), ("q", "test", FAR[1], ["b"]))
    two = table(("x", "train", FAR[2], ["c"]), ("y", "train", FAR[1] ^ 1, ["d"]), ("z", "val", FAR[0], ["e"]))
    dropped = duplicates.offenders({"one": one, "two": two})
    assert dropped[["benchmark", "image_id", "because_benchmark", "because_split"]].to_numpy().tolist() == [
        ["one", 0, "two", "val"],
        ["two", 1, "one", "test"],
    ]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(st.sampled_from(["train", "val", "test"]), st.integers(0, 2**12)), min_size=1, max_size=12))
def test_what_is_kept_is_far_from_everything_held_out(images):
    data = table(*((str(row), split, phash, ["x"]) for row, (split, phash) in enumerate(images)))
    kept = manifest.images_of(duplicates.keep(data, "one", duplicates.offenders({"one": data})))
    train, held = kept[kept["split"] == "train"], kept[kept["split"] != "train"]
    assert len(held) == sum(split != "train" for split, _ in images)
    far = [phash for split, phash in images if split == "train"]
    far = [p for p in far if all((p ^ other).bit_count() > 8 for split, other in images if split != "train")]
    assert train["phash"].tolist() == far


def test_report():
    one = table(
        ("a", "train", 0, ["x", "x"]),
        ("b", "train", 1, ["x", "y"]),
        ("c", "val", 3, ["z"]),
        ("d", "test", 3, ["z", "w"]),
    )
    two = table(("e", "train", FAR[3], ["z", "w"]), ("f", "test", FAR[4], ["v"]))
    report = audit.audit({"one": one, "two": two}, {"both": ["one", "two"], "single": ["two"], "absent": ["three"]})
    assert report == json.loads(json.dumps(report))
    near = report["benchmarks"]["one"]["near_duplicates"]
    assert {part: near[part]["pairs"] for part in near} == {
        "train": 1, "train-val": 2, "train-test": 2, "val": 0, "val-test": 1, "test": 0
    }  # fmt: skip
    assert near["val-test"]["listed"] == [{"left": "val/c", "right": "test/d", "rule": "phash", "distance": 0}]
    assert report["benchmarks"]["one"]["identical_captions"]["train"] == {
        "distinct": 2, "images_repeating": 1, "images_with_one": 1, "captions_shared": 3
    }  # fmt: skip
    assert report["across_benchmarks"]["one-two"]["by_rule"] == {"captions": 1}
    assert list(report["corpora"]) == ["both", "single"]
    both = report["corpora"]["both"]
    assert (both["one"]["dropped_images"], both["one"]["dropped_captions"]) == (2, 4)
    assert both["two"]["because"] == {"one/test": 1} and both["two"]["dropped"][0]["filename"] == "e"
    assert report["corpora"]["single"]["two"]["dropped_images"] == 0


def captions_of(records, split):
    chosen = [record for record in records if record.split == split]
    captions = [caption.text.strip() for record in chosen for caption in record.captions]
    return captions, np.repeat(np.arange(len(chosen)), [len(record.captions) for record in chosen])


REAL = {
    "rsicd": (karpathy, RSICD / "dataset_rsicd.json", 5465, (93.1, 99.2, 99.8)),
    "rsitmd": (karpathy, RSICD.parent / "rsitmd/dataset_RSITMD.json", 2260, (99.9, 100.0, 100.0)),
    "nwpu": (plain_csv, RSICD.parent / "nwpu/captions.csv", 15750, (48.7, 82.3, 92.7)),
}


@functools.cache
def real(name):
    reader, file, _, _ = REAL[name]
    return list(reader.read(RawFiles(file.parent), file.name))


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(REAL[name][1])) for name in REAL])
def test_ceilings_of_the_real_benchmarks(name):
    captions, image_of_text = captions_of(real(name), "test")
    assert len(captions) == REAL[name][2]
    ceiling = caption_ceiling(captions, image_of_text)
    assert [round(ceiling[f"t2i_R@{k}"], 1) for k in (1, 5, 10)] == list(REAL[name][3])


@needs(REAL["rsitmd"][1])
def test_rsicd_and_rsitmd_share_images_by_caption_sets():
    random = np.random.default_rng(0)
    tables = {}
    for name in ("rsicd", "rsitmd"):
        filled = [[caption.text.strip() for caption in record.captions] for record in real(name)]
        images = [
            (record.filename, record.split, int(random.integers(2**64, dtype=np.uint64)), captions)
            for record, captions in zip(real(name), filled, strict=True)
            if all(captions)
        ]
        tables[name] = table(*images)
    pairs = duplicates.near_duplicates(*(duplicates.gather_images({name: tables[name]}) for name in tables))
    rsicd, rsitmd = (manifest.images_of(tables[name])["split"].to_numpy() for name in tables)
    leaks = pairs[(rsicd[pairs["left"]] == "test") & (rsitmd[pairs["right"]] == "train")]
    assert leaks["left"].nunique() == 20 and set(leaks["rule"]) == {"captions"}
    dropped = duplicates.offenders(tables)
    assert (dropped["benchmark"] == "rsitmd").sum() >= 20


@needs(REAL["nwpu"][1])
def test_shared_captions_of_the_real_benchmarks():
    for name, shared in (("rsicd", 641), ("nwpu", 10469)):
        captions, image_of_text = captions_of(real(name), "test")
        rows = pd.DataFrame({"caption": captions, "image_id": image_of_text})
        assert audit.identical_captions(rows)["captions_shared"] == shared
