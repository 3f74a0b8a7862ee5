"""Examples show the ranking that is measured, and captions as they are."""

import base64
import io

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_fixtures import made_up_project, open_project  # noqa: F401

from iebaker.report import examples


def test_highlight_marks_whole_words_and_escapes_the_rest():
    marked = examples.highlight("Ports & <b>ports</b>, airports.", {"ports"})
    assert marked == "<mark>Ports</mark> &amp; &lt;b&gt;<mark>ports</mark>&lt;/b&gt;, airports."


@given(st.text(), st.sets(st.text(min_size=1)))
def test_highlight_loses_no_character(caption, keywords):
    assert examples.highlight(caption, keywords).striptags() == examples.highlight(caption, ()).striptags()


def test_ranks_show_ties():
    scores = np.array([[0.9, 0.5, 0.5, 0.1], [0.5, 0.5, 0.5, 0.9]])
    own = np.array([[False, True, False, False], [True, True, False, False]])
    first, last = examples.ranks(scores, own)
    assert first.tolist() == [2, 2] and last.tolist() == [3, 3]


def test_draw_takes_each_outcome_from_its_queries():
    before = np.array([1, 1, 1, 2, 10, 11, 40, 1]), np.array([1, 1, 1, 2, 10, 11, 40, 5])
    after = np.array([1, 1, 3, 2, 10, 2, 40, 1]), np.array([1, 1, 3, 2, 10, 2, 40, 5])
    drawn = examples.draw(before, after)
    by_outcome = {outcome: {query for name, query in drawn if name == outcome} for outcome, _ in drawn}
    assert by_outcome["hit"] < {0, 1, 2} and by_outcome["near miss"] == {3, 4} and by_outcome["failure"] == {5, 6}
    assert by_outcome["helped"] == {5} and by_outcome["harmed"] == {2}
    assert drawn == examples.draw(before, after)


def test_thumbnail_is_the_image(rng):
    pixels = np.full((96, 96, 3), (200, 40, 40), np.uint8)
    kind, data = examples.thumbnail(pixels).split(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert kind == "data:image/webp;base64" and image.size == (96, 96)
    assert np.abs(np.asarray(image).astype(int) - (200, 40, 40)).max() < 6
    large = examples.thumbnail(np.zeros((224, 224, 3), np.uint8)).split(",")[1]
    assert Image.open(io.BytesIO(base64.b64decode(large))).size == (examples.SIDE, examples.SIDE)


def test_gallery_shows_own_items_at_their_rank(project, corpus):
    gallery = examples.Gallery(open_project(project), "synthetic", corpus[0].pixels, corpus[0].keywords)
    found = gallery.retrieval("baseline", "test")
    assert set(found) == {"text_to_image", "image_to_text"}
    for direction, shown in found.items():
        assert {one.outcome for one in shown} >= {"hit", "near miss"}
        for one in shown:
            assert len(one.before) == len(one.after) == examples.SHOWN
            assert (one.image is None) == (direction == "text_to_image") == (one.caption is not None)
            for items, rank in ((one.before, one.rank_before), (one.after, one.rank_after)):
                first = int(rank.split("–")[0])
                places = [place for place, item in enumerate(items, start=1) if item.own]
                assert (places[0] if places else None) == (first if first <= examples.SHOWN else None)


def test_dropped_pairs_are_grouped_by_kind(project, corpus):
    gallery = examples.Gallery(open_project(project), "synthetic", corpus[0].pixels, corpus[0].keywords)
    scenes = corpus[0].manifest.drop_duplicates("image_id").set_index("image_id")["scene"]
    found = gallery.dropped("full", 0, scenes)
    assert set(found["groups"]) <= {"other", "sibling", "vague", "untouched", examples.SPARED}
    for kind, rows in found["groups"].items():
        assert 0 < len(rows) <= min(examples.DROPPED_PER_KIND, found["counts"][kind])
        assert all(bool(row["dropped_by"]) == (kind != examples.SPARED) for row in rows)
    assert gallery.dropped("baseline", 0, scenes) == {"groups": {}, "counts": {}}
