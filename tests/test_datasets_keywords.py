import re
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iebaker.datasets.keywords import STOP_WORDS, mine, write
from iebaker.report import gather


def mined(*args):
    return dict(mine(*args).itertuples(index=False))


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
    write(none, tmp_path)
    assert (tmp_path / "keywords.txt").read_text() == "" and gather.cloud(tmp_path) == []
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
