import shutil

import numpy as np
import pandas as pd
import pytest
from conftest import write_corpus
from hypothesis import given
from hypothesis import strategies as st

from iebaker.corpus import loading
from iebaker.corpus.loading import StoredImage
from iebaker.corpus.words import names_direction
from iebaker.errors import IebakerError


def pairs_of(images: int, captions: int) -> pd.DataFrame:
    rows = [(0, image, f"caption {image} {c}", "") for image in range(images) for c in range(captions)]
    return pd.DataFrame(rows, columns=["member", "image_id", "caption", "weak"])


@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 8), st.integers(0, 99))
def test_an_epoch_visits_every_pair_at_most_once(images, captions, batch, seed):
    pairs = pairs_of(images, captions)
    for mode, size in (("all", images * captions), ("one_per_image", images), ("whole_images", images * captions)):
        assert loading.pairs_per_epoch(pairs, mode) == size
        if size < batch:
            with pytest.raises(IebakerError, match="batch_size"):
                list(loading.epoch_batches(pairs, batch, mode, np.random.default_rng(seed)))
            continue
        rows = np.concatenate(list(loading.epoch_batches(pairs, batch, mode, np.random.default_rng(seed))))
        assert len(rows) == size // batch * batch == len(set(rows))
        if mode == "one_per_image":
            assert pairs["image_id"].iloc[rows].is_unique
        if mode == "whole_images":
            assert (pairs["image_id"].iloc[rows].diff() != 0).sum() == -(-len(rows) // captions)


def test_one_per_image_draws_every_caption_equally():
    pairs, stream = pairs_of(4, 5), np.random.default_rng(0)
    drawn = np.concatenate([next(loading.epoch_batches(pairs, 4, "one_per_image", stream)) for _ in range(2000)])
    counts = np.bincount(drawn, minlength=20)
    assert counts.min() > 320 and counts.max() < 480


@given(st.floats(0.05, 1.0), st.integers(0, 99))
def test_injected_captions_belong_to_other_images_and_none_is_lost(rate, seed):
    pairs = pairs_of(20, 3)
    injected = loading.inject_mismatches(pairs, rate, seed)
    changed = injected["weak"] == "injected"
    assert (injected["caption"] != pairs["caption"]).equals(changed)
    owner = pairs.set_index("caption")["image_id"]
    assert (owner[injected.loc[changed, "caption"]].to_numpy() != injected.loc[changed, "image_id"].to_numpy()).all()
    assert changed.sum() <= round(rate * len(pairs))


def test_offenders_are_not_trained_on(corpus):
    pairs, offenders = loading.training_pairs(corpus)
    left = set(pairs["image_id"])
    train = set(corpus[0].manifest.query("split == 'train'")["image_id"])
    assert left == train - set(offenders["image_id"])


def test_the_eight_orientations_of_an_image_are_those_of_a_square(rng):
    image = StoredImage("b", 3, rng.integers(0, 255, (5, 5, 3), np.uint8))
    all_eight = [image.oriented(number) for number in range(8)]
    turns = [np.rot90(image.pixels, quarters)[:, ::step] for quarters in range(4) for step in (1, -1)]
    assert {one.pixels.tobytes() for one in all_eight} == {turn.tobytes() for turn in turns}
    assert len({one.pixels.tobytes() for one in all_eight}) == len(set(all_eight)) == 8
    assert all_eight[0] == image and (all_eight[0].pixels == image.pixels).all()
    assert (all_eight[1].pixels == image.pixels[:, ::-1]).all() and (all_eight[3].pixels == image.pixels[::-1]).all()


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("a plane on the Left.", True),
        ("cars head north-west", True),
        ("the northern bank", True),
        ("many trees are on two sides", False),
        ("a bright, leftover field", False),
    ],
)
def test_a_direction_is_a_word_of_its_own(caption, named):
    assert names_direction(caption) == named


def test_split_columns_are_the_captions_own_images(corpus):
    split = loading.split_of(corpus[0], "test")
    own = corpus[0].manifest.query("split == 'test'")["image_id"].to_numpy()
    assert np.array_equal(split.image_ids[split.image_of_text], own)


def test_pixels_of_another_preparation_are_refused(corpus, prepared, tmp_path):
    folder = write_corpus(prepared, ["synthetic"], tmp_path / "stale")
    (folder / "synthetic/view.json").write_text('{"pixels_sha256": "0"}')
    with pytest.raises(IebakerError, match="dvc repro join"):
        loading.open_corpus(folder, prepared)
    with pytest.raises(IebakerError, match=r"corpus\.empty\.benchmarks"):
        loading.open_corpus(tmp_path / "empty", prepared)


def test_members_of_different_sizes_are_refused_by_name(prepared, corpus, tmp_path):
    for name, side in (("synthetic", 96), ("large", 128)):
        shutil.copytree(prepared / "synthetic", tmp_path / "prepared" / name)
        np.save(tmp_path / "prepared" / name / "pixels.npy", np.zeros((2, side, side, 3), np.uint8))
    folder = write_corpus(tmp_path / "prepared", ["synthetic", "large"], tmp_path / "corpora/both")
    with pytest.raises(IebakerError, match="large 128, synthetic 96"):
        loading.open_corpus(folder, tmp_path / "prepared")
    (folder / "large").rename(folder / ".large.partial")  # as a killed stage leaves it
    assert [member.name for member in loading.open_corpus(folder, tmp_path / "prepared")] == ["synthetic"]
