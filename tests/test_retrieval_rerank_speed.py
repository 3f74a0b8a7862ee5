"""What `auto` shares between hyper-parameters changes nothing: against each member on its own."""

import os
from pathlib import Path

import numpy as np
import pytest
from conftest import section

from iebaker.config.params import SarParams
from iebaker.metrics.recall import expected_hits, image_to_text_hits, relevance, text_to_image_hits
from iebaker.retrieval import rerank
from iebaker.retrieval.rerank.selection import CRITERION_RANKS, Choice

SHARED = Path(os.environ.get("IEBAKER_SHARED", Path(__file__).parents[2] / "shared"))


def drawn(seed, images=40, decimals=8):
    generator = np.random.default_rng(seed)
    scores = 0.1 * (generator.normal(size=(5 * images, images)) + generator.normal(size=images))
    scores[np.arange(5 * images), np.arange(5 * images) // 5] += 0.3
    return scores.round(decimals).astype(np.float32)


@pytest.mark.parametrize("decimals", [8, 1])  # without ties, and with little else
def test_what_members_share_changes_no_number(decimals):
    scores, image_of_text = drawn(0, decimals=decimals), np.arange(200) // 5
    bank = rerank.BankScores(drawn(1)[:50], drawn(2)[:, :30])
    selection = rerank.select(scores, image_of_text, section(SarParams, method="auto"), bank)
    relevant = relevance(image_of_text)
    measures = {"image_to_text": image_to_text_hits, "text_to_image": text_to_image_hits}
    for row in selection.table:
        alone = rerank.apply(Choice.from_dict(row), scores, row["direction"], bank)
        found = measures[row["direction"]](alone, relevant, CRITERION_RANKS)
        assert row["criterion"] == round(100 * float(found.mean()), 4), row


@pytest.mark.parametrize("matrix", ["drawn", "real"])
def test_the_size_of_blocks_changes_no_choice(matrix, monkeypatch):
    scores = drawn(3)
    if matrix == "real":
        if not (path := SHARED / "similarity/rsicd_val.npy").exists():
            pytest.skip(f"{path} is absent; set IEBAKER_SHARED")
        scores = np.load(path)[:1000, :200]
    image_of_text = np.arange(len(scores)) // 5
    selections = []
    for size in (2**14, 2**25):
        monkeypatch.setattr("iebaker.metrics.recall.BLOCK_BYTES", size)
        selections.append(rerank.select(scores, image_of_text, section(SarParams)))
    # the deviation is a sum over blocks: its last digit may differ
    one, other = ([{**row, "deviation": None} for row in each.table] for each in selections)
    assert one == other
    chosen = [[(choice.method, choice.parameters) for choice in each.choices.values()] for each in selections]
    assert chosen[0] == chosen[1]


def expected(ahead, tied, relevant, rank):
    """Chance of a hit, drawing one place after the other."""
    miss = 1.0
    for drawn_before in range(min(max(rank - ahead, 0), tied)):
        miss *= max(tied - relevant - drawn_before, 0) / (tied - drawn_before)
    return 1 - miss


def test_expected_hits_equal_the_draw_place_by_place():
    generator = np.random.default_rng(0)
    ahead, tied = generator.integers(0, 25, 500), generator.integers(1, 30, 500)
    relevant = generator.integers(1, tied + 1)
    found = expected_hits(ahead, tied, relevant, CRITERION_RANKS)
    for query, row in enumerate(found):
        assert row.tolist() == [expected(ahead[query], tied[query], relevant[query], rank) for rank in CRITERION_RANKS]
