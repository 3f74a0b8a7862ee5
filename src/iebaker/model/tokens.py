"""Token ids of captions, and which of them belong to which word.

One class over the tokenizers of open_clip (CLIP's byte-pair encoding, Hugging Face), because keyword masking
(method: KER 2) has to know the exact positions of a keyword in what the text tower reads.
"""

from collections.abc import Sequence
from typing import Any

import torch

from iebaker.corpus.words import WORD
from iebaker.errors import IebakerError

# CLIP's vocabulary has no mask token: the published code reuses this id, an ordinary word's (method: KER 2)
CLIP_MASK_ID = 49405

Span = tuple[int, int]


class Tokenizer:
    """A tokenizer of open_clip with the ids and the word positions that the method needs.

    Calling it with captions gives (B, L) int64 token ids, exactly those of the wrapped tokenizer.
    Positions count from 0 = first column of that matrix (the start token, where there is one).

    Attributes:
        context_length: L.
        pad_id: fills the columns after the end token.
        end_id: ends a caption; the same as `pad_id` for SigLIP.
        special_ids: start, end and pad ids, never part of a word.
        vocabulary_size: number of distinct ids.
    """

    def __init__(self, tokenizer: Any) -> None:
        """Wrap `tokenizer`, as `open_clip.get_tokenizer` gives it (SimpleTokenizer or HFTokenizer)."""
        self.wrapped = tokenizer
        self._known: dict[str, torch.Tensor] = {}
        self.context_length: int = tokenizer.context_length
        self._hugging_face: Any = getattr(tokenizer, "tokenizer", None)
        if self._hugging_face is None:
            self.pad_id, self.end_id = 0, tokenizer.eot_token_id
            self.special_ids = frozenset({0, tokenizer.sot_token_id, tokenizer.eot_token_id})
            self.vocabulary_size: int = tokenizer.vocab_size
        else:
            inner = self._hugging_face
            self.pad_id = inner.pad_token_id
            self.end_id = inner.sep_token_id if inner.sep_token_id is not None else inner.eos_token_id
            if getattr(tokenizer, "strip_sep_token", False):
                self.end_id = self.pad_id = 0  # open_clip then writes 0 in place of the end token
            self.special_ids = frozenset(inner.all_special_ids) - {inner.mask_token_id}
            self.vocabulary_size = len(inner)

    def __call__(self, captions: Sequence[str]) -> torch.Tensor:
        """Token ids of `captions`, (B, L) int64, cut to `context_length`; each caption is tokenised once."""
        unknown = [caption for caption in dict.fromkeys(captions) if caption not in self._known]
        if unknown:
            self._known.update(zip(unknown, self.wrapped(unknown), strict=True))
        if not captions:
            return torch.empty(0, self.context_length, dtype=torch.int64)
        return torch.stack([self._known[caption] for caption in captions])

    @property
    def mask_id(self) -> int:
        """Id that stands for a masked keyword: 49405 for CLIP, the tokenizer's own mask token otherwise.

        Raises:
            IebakerError: if the vocabulary has no mask token (T5, as used by SigLIP).
        """
        if self._hugging_face is None:
            return CLIP_MASK_ID
        if self._hugging_face.mask_token_id is None:
            name = type(self._hugging_face).__name__
            raise IebakerError(f"{name} has no mask token, which ker.enabled=true needs; set ker.enabled=false")
        return int(self._hugging_face.mask_token_id)

    def padding(self, token_ids: torch.Tensor) -> torch.Tensor:
        """True where (B, L) `token_ids` are padding; start, words and end token are False."""
        ends = token_ids == self.end_id
        # only after an end token: CLIP pads with 0, which is also the id of an exclamation mark
        after_end = ends.cumsum(dim=1) - ends.long() > 0
        padding: torch.Tensor = after_end & (token_ids == self.pad_id)
        return padding

    def token_words(self, caption: str) -> list[tuple[str, list[int]]]:
        """The words of `caption` with the positions of their tokens in `tokenizer([caption])[0]`.

        Words follow keyword mining: lower-cased runs of letters and digits, so "Port." is "port" and its full
        stop's token is not among the positions; "storage-tanks" is two words. A word is listed once for each
        occurrence, in order. Positions beyond `context_length` are left out, and a word without any too. The
        rare token that covers two words ("'s" of "it's") belongs to both.

        Example (CLIP): "A baseball-field." gives [("a", [1]), ("baseball", [2]), ("field", [4])].

        Raises:
            IebakerError: if the tokenizer drops or moves tokens (CLIPA), so that positions have no meaning.
        """
        text, spans = self._clip_spans(caption) if self._hugging_face is None else self._hugging_face_spans(caption)
        words = []
        for match in WORD.finditer(text):
            begin, end = match.span()
            positions = [position for position, (left, right) in spans if left < end and right > begin]
            if positions:
                words.append((match.group().lower(), positions))
        return words

    def _clip_spans(self, caption: str) -> tuple[str, list[tuple[int, Span]]]:
        """Cleaned text and (position, character span) of its tokens, by the tokenizer's own pattern and merges."""
        bpe = self.wrapped
        if bpe.reduction_fn is not None:
            raise IebakerError(
                "keyword masking needs tokens in their order; this tokenizer's reduction_mask drops some"
            )
        text = bpe.clean_fn(caption)
        # merges work on bytes: a character's index for each byte of the text
        character = [index for index, letter in enumerate(text) for _ in letter.encode("utf-8")]
        spans: list[tuple[int, Span]] = []
        for piece in bpe.pat.finditer(text):
            encoded = "".join(bpe.byte_encoder[byte] for byte in piece.group().encode("utf-8"))
            begin = len(text[: piece.start()].encode("utf-8"))
            for token in bpe.bpe(encoded).split(" "):
                end = begin + len(token.removesuffix("</w>"))
                spans.append((len(spans) + 1, (character[begin], character[end - 1] + 1)))
                begin = end
        # the last column always holds the end token
        return text, spans[: self.context_length - 2]

    def _hugging_face_spans(self, caption: str) -> tuple[str, list[tuple[int, Span]]]:
        """Cleaned text and (position, character span) of its tokens, by the fast tokenizer's offsets."""
        if getattr(self.wrapped, "tokenizer_mode", ""):
            raise IebakerError(f"keyword masking is not available for tokenizer_mode={self.wrapped.tokenizer_mode}")
        text = self.wrapped.clean_fn(caption)
        encoded = self._hugging_face(text, max_length=self.context_length, truncation=True, return_offsets_mapping=True)
        return text, [(position, span) for position, span in enumerate(encoded["offset_mapping"]) if span[0] < span[1]]
