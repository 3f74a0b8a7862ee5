"""The key concepts of a benchmark: words that the captions of one image repeat (method: KER 1)."""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd

from iebaker.corpus.loading import KEYWORDS_FILE
from iebaker.corpus.words import WORD
from iebaker.errors import IebakerError

log = logging.getLogger(__name__)

# Function words only. Number words (many, several, four, both) and place words (behind, near, between, up, left)
# are key concepts of aerial scenes: they are not in this list, and stay.
STOP_WORDS = frozenset(
    """
    a an the this that these those there here such same other others another some any each every all else
    i me my mine we us our ours you your yours he him his she her hers it its they them their theirs
    itself himself herself themselves ourselves myself yourself who whom whose which what whatever
    anything something everything nothing anyone someone everyone
    am is are was were be been being have has had having do does did doing done
    can could may might must shall should will would cannot
    and or but nor so yet if as than then thus hence therefore because since although though while whereas whereby
    wherein whether unless until when whenever where wherever why how however
    of in on at to from by for with without within into onto upon via per about during due
    not no only also too very just quite rather even still ever never again already always often sometimes
    s t d m ll re ve don doesn isn aren wasn weren
    """.split()
)


def words(caption: str) -> list[str]:
    """The words of `caption`, in order: lower-case runs of letters and digits."""
    return WORD.findall(caption.lower())


def mine(captions_by_image: Iterable[Sequence[str]], size: int, min_count: int) -> pd.DataFrame:
    """Mine the keywords of one benchmark.

    An image counts a word as often as its captions contain it together, if that is more than once. Where all images
    have one caption, only a word that a caption itself repeats can count.

    Args:
        captions_by_image: captions of each *training* image.
        size: keywords to keep, the most frequent; of equally frequent ones the first seen.
        min_count: summed count below which a word is dropped.

    Returns:
        Columns keyword (str) and count (int64), sorted by keyword, so that the same captions give the same file;
        empty, with a warning that says which rule left none, if no word qualifies.

    Raises:
        IebakerError: if there is no training image.
    """
    totals: Counter[str] = Counter()
    images = single = 0
    for captions in captions_by_image:
        images += 1
        single += len(captions) < 2
        pooled = Counter(word for caption in captions for word in words(caption))
        totals.update({word: count for word, count in pooled.items() if count > 1 and word not in STOP_WORDS})
    frequent = [(word, count) for word, count in totals.most_common() if count >= min_count][:size]
    if not images:
        raise IebakerError("keywords are mined from training captions, and there are none; look at the splits")
    if not frequent:
        log.warning(
            "no keyword among %d training images: %d words are repeated within the captions of one image (%d images "
            "have a single caption), none of them %d times in all; lower keywords.min_count, or train with "
            "ker.enabled=false, as captions that repeat nothing need",
            images, len(totals), single, min_count,
        )  # fmt: skip
    return pd.DataFrame(sorted(frequent), columns=["keyword", "count"]).astype({"count": "int64"})


def read_list(file: Path, captions_by_image: Iterable[Sequence[str]]) -> pd.DataFrame:
    """Keywords of a list of one's own, with how often the training captions contain them; columns as `mine` gives them.

    Args:
        file: UTF-8 text, one word a line.

    Raises:
        IebakerError: if there is no such file, or a line is no word as captions are split into.
    """
    try:
        lines = [line.strip().lower() for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise IebakerError(
            f"keywords.file={file}: cannot be read ({error}); give a text file, one word a line"
        ) from error
    for number, line in enumerate(lines, start=1):
        if line and not WORD.fullmatch(line):
            raise IebakerError(f"{file}, line {number}: {line!r} is no single word of letters and digits")
    counts = Counter(word for captions in captions_by_image for caption in captions for word in words(caption))
    rows = [(word, counts[word]) for word in sorted(set(filter(None, lines)))]
    return pd.DataFrame(rows, columns=["keyword", "count"]).astype({"count": "int64"})


def write(mined: pd.DataFrame, folder: Path) -> None:
    """Write what `mine` gives: the words, one a line, and the table with their counts."""
    (folder / KEYWORDS_FILE).write_text("".join(f"{word}\n" for word in mined["keyword"]))
    mined.to_csv(folder / "counts.csv", index=False)
