import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iebaker.metrics.ceiling import caption_ceiling, tied_ceiling
from iebaker.metrics.recall import hits, recalls, relevance

SHARED = Path(os.environ.get("IEBAKER_SHARED", Path(__file__).parents[2] / "shared"))

captioned_images = st.lists(
    st.lists(st.sampled_from(["port", "many ships", "a road", "two roads", "river"]), min_size=1, max_size=6),
    min_size=1,
    max_size=25,
)


def flat(images):
    captions = [caption for own in images for caption in own]
    return captions, np.repeat(np.arange(len(images)), [len(own) for own in images])


@settings(max_examples=80, deadline=None)
@given(captioned_images)
def test_a_perfect_model_is_exactly_at_the_tied_ceiling(images):
    captions, owner = flat(images)
    perfect = relevance(owner, captions).toarray().astype(np.float32)
    assert recalls(hits(perfect, perfect, relevance(owner))) == pytest.approx(tied_ceiling(captions, owner), abs=1e-9)


@settings(max_examples=80, deadline=None)
@given(captioned_images, st.integers(0, 2**32))
def test_no_model_of_the_caption_string_is_above_the_ceiling(images, seed):
    captions, owner = flat(images)
    ceiling, relevant = caption_ceiling(captions, owner), relevance(owner)
    generator = np.random.default_rng(seed)
    of_string = {caption: generator.normal(size=len(images)) for caption in sorted(set(captions))}
    carried = relevance(owner, captions).toarray()
    model = np.stack([of_string[caption] for caption in captions]) + 10 * carried
    for key, value in recalls(hits(model, model, relevant)).items():
        assert value <= ceiling[key] + 1e-9
    assert all(ceiling[key] >= value - 1e-9 for key, value in tied_ceiling(captions, owner).items())


@settings(max_examples=40, deadline=None)
@given(captioned_images)
def test_the_text_to_image_ceiling_is_reached_by_ranking_by_copies(images):
    captions, owner = flat(images)
    copies = np.array([[own.count(caption) for own in images] for caption in captions], float)
    best = copies - 1e-3 * np.arange(len(images))  # breaks ties between images, not between identical captions
    reached = recalls(hits(best, best, relevance(owner)))
    for key, value in caption_ceiling(captions, owner).items():
        if key.startswith("t2i"):
            assert reached[key] == pytest.approx(value)


def captions_of(benchmark):
    folder = SHARED / "datasets" / benchmark
    if not folder.exists():
        pytest.skip(f"{folder} is absent; set IEBAKER_SHARED")
    if benchmark == "nwpu":
        import pandas as pd

        rows = pd.read_csv(folder / "captions.csv").query("split == 'test'")
        return rows["title"].tolist(), pd.factorize(rows["filename"])[0]
    images = json.loads(next(folder.glob("dataset_*.json")).read_text(encoding="utf-8"))["images"]
    return flat([[one["raw"] for one in image["sentences"]] for image in images if image["split"] == "test"])


@pytest.mark.parametrize(
    ("benchmark", "expected"),
    [("rsicd", (93.1, 99.2, 99.8)), ("rsitmd", (99.9, 100.0, 100.0)), ("nwpu", (48.7, 82.3, 92.7))],
)
def test_ceilings_of_the_benchmarks(benchmark, expected):
    captions, owner = captions_of(benchmark)
    ceiling = caption_ceiling(captions, owner)
    assert tuple(round(ceiling[f"t2i_R@{rank}"], 1) for rank in (1, 5, 10)) == expected
    if benchmark == "rsicd":
        assert round(tied_ceiling(captions, owner)["t2i_R@1"], 1) == 92.6


def test_distinct_captions_have_no_ceiling():
    captions, owner = [f"image {i} caption {j}" for i in range(6) for j in range(5)], np.repeat(np.arange(6), 5)
    assert set(caption_ceiling(captions, owner).values()) == set(tied_ceiling(captions, owner).values()) == {100.0}
