import json
import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iebaker.config.params import KerParams
from iebaker.datasets.keywords import STOP_WORDS, mine, words
from iebaker.method.masking import KeywordMasker
from iebaker.model.compat import open_clip
from iebaker.model.tokens import Tokenizer
from iebaker.report import gather, plots

PARITY = Path(__file__).parent / "fixtures" / "parity"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(open_clip.get_tokenizer("ViT-B-32"))


@pytest.fixture(scope="module")
def reference():
    return json.loads((PARITY / "keyword_masking_reference.json").read_text())


def mined(*args):
    return dict(mine(*args).itertuples(index=False))


def masked_words(tokenizer, caption, keywords, **params):
    batch = KeywordMasker(tokenizer, keywords, [caption], KerParams(**params)).mask([caption])
    return tokenizer.wrapped.decode(tokenizer([caption])[batch.masked].tolist()).split()


def test_mining_pools_captions_and_sums_what_an_image_repeats():
    first = ["Many planes, near a building.", "PLANES near the river"]
    second = ["planes and planes and planes", "a building_site"]
    assert mined([first, second], 10, 1) == {"planes": 5, "near": 2}
    assert mined([first, second], 10, 3) == {"planes": 5}
    assert mined([first, second], 1, 1) == {"planes": 5}


def test_mining_keeps_the_first_seen_of_equally_frequent_words_and_sorts_the_list():
    captions = [["zebra apple mango"] * 2]
    assert list(mined(captions, 2, 1)) == ["apple", "zebra"]


def test_mining_drops_function_words_but_no_number_or_place_words():
    caption = "many of the four planes are behind both of several hangars , left of it , between these 2"
    kept = "many four planes behind both several hangars left between 2"
    assert set(mined([[caption] * 5], 512, 5)) == set(kept.split())
    assert not STOP_WORDS & set("one two few most near beside above under up down left right middle lot".split())


def test_mining_counts_one_caption_given_five_times():
    assert mined([["a large piece of desert"] * 5], 512, 5) == {"large": 5, "piece": 5, "desert": 5}


def test_mining_without_any_repeated_word_says_why(caplog, tmp_path):
    """And is no end: a model without keyword reasoning needs none."""
    assert mine([["a red roof"], ["two planes"], ["a bridge"]], 512, 5).empty
    assert re.search(r"3 training images.*3 images have a single caption.*ker\.enabled=false", caplog.text)
    none = mine([["red roof", "red roof"]], 512, 5)
    assert re.search(r"2 words are repeated.*lower keywords\.min_count", caplog.text)
    plots.keyword_counts(none, "none", tmp_path / "keywords.svg")
    none.to_csv(tmp_path / "counts.csv", index=False)
    assert gather.cloud(tmp_path) == []
    with pytest.raises(ValueError, match="there are none"):
        mine([], 512, 5)


@given(st.lists(st.lists(st.text("ab1 .,_É", max_size=8), max_size=4), min_size=1, max_size=5), st.integers(1, 4))
def test_mining_against_a_plain_count(images, min_count):
    expected = Counter()
    for captions in images:
        pooled = "".join(c if c.isalnum() else " " for c in " ".join(captions).lower()).split()
        for word in set(pooled):
            if pooled.count(word) > 1 and word not in STOP_WORDS:
                expected[word] += pooled.count(word)
    expected = {word: count for word, count in expected.items() if count >= min_count}
    assert mined(images, 100, min_count) == expected


@pytest.mark.parametrize("vocabulary", ["keywords", "full"])
def test_parity_with_the_published_masking(tokenizer, reference, vocabulary):
    captions = [row["caption"] for row in reference["rows"]]
    params = KerParams(alignment="reference", vocabulary=vocabulary)
    masker = KeywordMasker(tokenizer, reference["keywords"], captions, params)
    batch = masker.mask(captions)
    assert masker.mask_id == reference["mask_token"]
    labels = torch.zeros_like(batch.token_ids)
    labels[batch.masked] = masker.label_ids[batch.classes]
    for number, row in enumerate(reference["rows"]):
        length = len(row["tokens"])
        assert tokenizer([row["caption"]])[0, :length].tolist() == row["tokens"]
        assert batch.token_ids[number, :length].tolist() == row["masked"]
        assert labels[number, :length].tolist() == row["labels"]
        assert not labels[number, length:].any() and not batch.token_ids[number, length:].any()


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("Many boats in the PORT.", ["many", "port"]),
        ("port,port ;airport (port)", ["port", "port", "port"]),
        ("the barelands", []),
        ("barren bareland", ["bareland"]),
        ("no such word", []),
    ],
)
def test_token_alignment_masks_exactly_the_keywords(tokenizer, caption, expected):
    keywords = ["many", "port", "bareland"]
    if expected:
        assert masked_words(tokenizer, caption, keywords) == expected
    else:
        batch = KeywordMasker(tokenizer, keywords, [caption, "port"], KerParams()).mask([caption])
        assert not batch.masked.any() and len(batch.classes) == 0
        assert torch.equal(batch.token_ids, tokenizer([caption]))


def test_token_alignment_on_real_captions_leaves_no_keyword_and_nothing_else_changed(tokenizer, reference):
    captions = [row["caption"] for row in reference["rows"]]
    masker = KeywordMasker(tokenizer, reference["keywords"], captions, KerParams())
    batch, before = masker.mask(captions), tokenizer(captions)
    assert (batch.token_ids == masker.mask_id).equal(batch.masked)
    assert batch.token_ids[~batch.masked].equal(before[~batch.masked])
    assert masker.label_ids[batch.classes].equal(before[batch.masked])
    for caption, ids, masked in zip(captions, before, batch.masked, strict=True):
        keywords = [word for word in words(caption) if word in reference["keywords"]]
        assert words(tokenizer.wrapped.decode(ids[masked].tolist())) == keywords
        rest = words(tokenizer.wrapped.decode(ids[~masked & (ids > 0) & (ids < 49406)].tolist()))
        assert rest == [word for word in words(caption) if word not in reference["keywords"]]


def test_compact_and_full_vocabulary_name_the_same_tokens(tokenizer):
    captions = ["a port near a storage tank", "bareland"]
    keywords = ["port", "bareland"]
    compact, full = (
        KeywordMasker(tokenizer, keywords, captions, KerParams(vocabulary=kind)) for kind in ("keywords", "full")
    )
    assert full.classes == 49408 and compact.classes == 3  # bareland is two tokens
    assert compact.label_ids[compact.mask(captions).classes].equal(full.mask(captions).classes)


def test_mask_ratio_draws_whole_keywords_from_its_generator(tokenizer):
    captions = ["bareland port bareland"] * 400
    masker = KeywordMasker(tokenizer, ["bareland", "port"], captions, KerParams(mask_ratio=0.25))
    batch, again, other = (masker.mask(captions, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert batch.masked.equal(again.masked) and not batch.masked.equal(other.masked)
    first, second, port, last = batch.masked[:, 1], batch.masked[:, 2], batch.masked[:, 3], batch.masked[:, 4]
    assert first.equal(second) and not first.equal(port) and not first.equal(last)
    assert first.float().mean().item() == pytest.approx(0.25, abs=0.08)
    state = torch.get_rng_state()
    assert KeywordMasker(tokenizer, ["port"], captions, KerParams()).mask(captions).masked.sum() == 400
    assert state.equal(torch.get_rng_state())  # masking everything draws nothing
    assert not KeywordMasker(tokenizer, ["port"], captions, KerParams(mask_ratio=0)).mask(captions).masked.any()


def test_keywords_cut_off_by_the_context_are_left_alone():
    short = Tokenizer(open_clip.get_tokenizer("ViT-B-32", context_length=6))
    caption = "one two three four port port port port"
    for alignment, count in (("token", 0), ("reference", 2)):
        masker = KeywordMasker(short, ["port"], [caption, "port"], KerParams(alignment=alignment))
        assert masker.mask([caption]).masked.sum() == count


def test_captions_without_any_keyword_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"none of the 2 captions .* 1 keywords.*ker\.enabled=false"):
        KeywordMasker(tokenizer, ["port"], ["a river", "a road"], KerParams())
