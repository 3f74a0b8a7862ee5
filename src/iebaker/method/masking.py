"""Masking the keywords of captions, and naming what was masked (method: KER 2)."""

from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from iebaker.config.params import KerParams
from iebaker.errors import IebakerError
from iebaker.model.tokens import Tokenizer


class MaskedBatch(NamedTuple):
    """Captions with their keywords masked, B captions of L tokens, n masked positions in all.

    Attributes:
        token_ids: (B, L) int64, the mask token at masked positions.
        masked: (B, L) bool, True at masked positions.
        classes: (n,) int64 class behind each mask, row by row, from left to right.
    """

    token_ids: Tensor
    masked: Tensor
    classes: Tensor


class KeywordMasker:
    """Replaces the keywords of captions by the mask token; finds them once, when it is made.

    Args:
        tokenizer: of the text tower.
        keywords: lower-case words.
        captions: every caption that will be masked, repeated or not.
        params: the `ker` section.

    Attributes:
        label_ids: (V,) int64 sorted token ids, the one of each class: with `ker.vocabulary: keywords` those that some
            caption has at a position that can be masked, with `full` the tokenizer's whole vocabulary.

    Raises:
        IebakerError: if no caption contains a keyword, or the tokenizer has no mask token.
    """

    def __init__(
        self, tokenizer: Tokenizer, keywords: Collection[str], captions: Iterable[str], params: KerParams
    ) -> None:
        self.mask_id, self.mask_ratio = tokenizer.mask_id, params.mask_ratio
        distinct = list(dict.fromkeys(captions))
        self._rows = {caption: row for row, caption in enumerate(distinct)}
        self._token_ids = tokenizer(distinct)
        # 0: stays; 1, 2, ...: token of the caption's first, second, ... keyword, masked together or not at all
        self._occurrence = torch.zeros_like(self._token_ids)
        find = {"token": keyword_tokens, "reference": reference_tokens}[params.alignment]
        vocabulary = frozenset(keywords)
        for row, caption in enumerate(distinct):
            for number, positions in enumerate(find(tokenizer, caption, vocabulary), start=1):
                self._occurrence[row, positions] = number
        used = torch.unique(self._token_ids[self._occurrence > 0])
        if len(used) == 0:
            raise IebakerError(
                f"none of the {len(distinct)} captions contains any of the {len(vocabulary)} keywords; mine the "
                "keywords from these captions, or set ker.enabled=false"
            )
        self.label_ids = used if params.vocabulary == "keywords" else torch.arange(tokenizer.vocabulary_size)

    @property
    def classes(self) -> int:
        """V, the number of classes of the reasoning head."""
        return len(self.label_ids)

    def mask(self, captions: Sequence[str], generator: torch.Generator | None = None) -> MaskedBatch:
        """Mask each keyword of each caption with probability `ker.mask_ratio`.

        Args:
            captions: B of the captions that the masker was made for.
            generator: random stream of the draws, for a ratio below 1.
        """
        rows = torch.tensor([self._rows[caption] for caption in captions])
        token_ids, occurrence = self._token_ids[rows], self._occurrence[rows]
        masked = occurrence > 0
        if self.mask_ratio < 1:
            drawn = torch.rand(len(rows), int(occurrence.max()) + 1, generator=generator) < self.mask_ratio
            masked &= drawn.gather(1, occurrence)
        classes = torch.searchsorted(self.label_ids, token_ids[masked])
        return MaskedBatch(token_ids.masked_fill(masked, self.mask_id), masked, classes)


def keyword_tokens(tokenizer: Tokenizer, caption: str, keywords: Collection[str]) -> list[list[int]]:
    """Positions of all tokens of each keyword occurrence, case and punctuation aside (`ker.alignment: token`)."""
    return [positions for word, positions in tokenizer.token_words(caption) if word in keywords]


def reference_tokens(tokenizer: Tokenizer, caption: str, keywords: Collection[str]) -> list[list[int]]:
    """What the published code masks (`ker.alignment: reference`).

    A word of `caption.split()` that is a keyword as it stands gives its 0-based number, and that number is taken for
    a position among the tokens, where 0 is the start token: so it is that of a token before the keyword.
    """
    positions = [[number] for number, word in enumerate(caption.split()) if word in keywords]
    return [position for position in positions if position[0] < tokenizer.context_length]
