import json
from pathlib import Path

import pytest
import torch
from conftest import section

from iebaker.config.params import KerParams
from iebaker.datasets.keywords import words
from iebaker.method.masking import KeywordMasker
from iebaker.model.compat import open_clip
from iebaker.model.tokens import Tokenizer

PARITY = Path(__file__).parent / "fixtures" / "parity"


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer(open_clip.get_tokenizer("ViT-B-32"))


@pytest.fixture(scope="module")
def reference():
    return json.loads((PARITY / "keyword_masking_reference.json").read_text())


def masked_words(tokenizer, caption, keywords, **params):
    batch = KeywordMasker(tokenizer, keywords, [caption], section(KerParams, **params)).mask([caption])
    return tokenizer.wrapped.decode(tokenizer([caption])[batch.masked].tolist()).split()


@pytest.mark.parametrize("vocabulary", ["keywords", "full"])
def test_parity_with_the_published_masking(tokenizer, reference, vocabulary):
    captions = [row["caption"] for row in reference["rows"]]
    params = section(KerParams, alignment="reference", vocabulary=vocabulary)
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
        batch = KeywordMasker(tokenizer, keywords, [caption, "port"], section(KerParams)).mask([caption])
        assert not batch.masked.any() and len(batch.classes) == 0
        assert torch.equal(batch.token_ids, tokenizer([caption]))


def test_token_alignment_on_real_captions_leaves_no_keyword_and_nothing_else_changed(tokenizer, reference):
    captions = [row["caption"] for row in reference["rows"]]
    masker = KeywordMasker(tokenizer, reference["keywords"], captions, section(KerParams))
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
        KeywordMasker(tokenizer, keywords, captions, section(KerParams, vocabulary=kind))
        for kind in ("keywords", "full")
    )
    assert full.classes == 49408 and compact.classes == 3  # bareland is two tokens
    assert compact.label_ids[compact.mask(captions).classes].equal(full.mask(captions).classes)


def test_mask_ratio_draws_whole_keywords_from_its_generator(tokenizer):
    captions = ["bareland port bareland"] * 400
    masker = KeywordMasker(tokenizer, ["bareland", "port"], captions, section(KerParams, mask_ratio=0.25))
    batch, again, other = (masker.mask(captions, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    assert batch.masked.equal(again.masked) and not batch.masked.equal(other.masked)
    first, second, port, last = batch.masked[:, 1], batch.masked[:, 2], batch.masked[:, 3], batch.masked[:, 4]
    assert first.equal(second) and not first.equal(port) and not first.equal(last)
    assert first.float().mean().item() == pytest.approx(0.25, abs=0.08)
    state = torch.get_rng_state()
    assert KeywordMasker(tokenizer, ["port"], captions, section(KerParams)).mask(captions).masked.sum() == 400
    assert state.equal(torch.get_rng_state())  # masking everything draws nothing
    assert (
        not KeywordMasker(tokenizer, ["port"], captions, section(KerParams, mask_ratio=0)).mask(captions).masked.any()
    )


def test_keywords_cut_off_by_the_context_are_left_alone():
    short = Tokenizer(open_clip.get_tokenizer("ViT-B-32", context_length=6))
    caption = "one two three four port port port port"
    for alignment, count in (("token", 0), ("reference", 2)):
        masker = KeywordMasker(short, ["port"], [caption, "port"], section(KerParams, alignment=alignment))
        assert masker.mask([caption]).masked.sum() == count


def test_captions_without_any_keyword_are_refused(tokenizer):
    with pytest.raises(ValueError, match=r"none of the 2 captions .* 1 keywords.*ker\.enabled=false"):
        KeywordMasker(tokenizer, ["port"], ["a river", "a road"], section(KerParams))
