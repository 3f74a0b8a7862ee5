"""Images and captions to look at: what retrieval finds and misses, and what the elimination dropped."""

import base64
import io
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup, escape
from PIL import Image

from iebaker.corpus.words import WORD
from iebaker.report.results import CorpusResults

SIDE = 112  # pixels of a thumbnail
SHOWN = 5  # items of a ranking
PER_OUTCOME = 2
DROPPED_PER_KIND = 6
SEED = 0  # of the draws: examples are drawn, not picked
OUTCOMES = {
    "hit": "hit",
    "near miss": "near miss",  # the own item is 2nd to 10th
    "failure": "failure",
    "helped": "most helped by re-ranking",
    "harmed": "most harmed by re-ranking",
}
SPARED = "spared"


@dataclass(frozen=True)
class Item:
    """One retrieved image or caption: `own` belongs to the query, `same` only carries an identical caption."""

    image: str | None
    caption: Markup | None
    own: bool
    same: bool


@dataclass(frozen=True)
class Example:
    """A query with its ranking before and after re-ranking.

    Attributes:
        outcome: key of OUTCOMES.
        image, caption: the query, one of them.
        before, after: the first SHOWN items.
        rank_before, rank_after: rank of the best own item, "3–5" where it ties.
    """

    outcome: str
    image: str | None
    caption: Markup | None
    before: list[Item]
    after: list[Item]
    rank_before: str
    rank_after: str


def thumbnail(pixels: np.ndarray) -> str:
    """A (S, S, 3) uint8 image as a data URI."""
    image = Image.fromarray(np.asarray(pixels))
    if image.width > SIDE:
        image = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=75, method=6)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def highlight(caption: str, keywords: Collection[str]) -> Markup:
    """The caption as HTML, its keywords marked."""
    parts, end = [], 0
    for word in WORD.finditer(caption):
        if word.group().lower() in keywords:
            parts += [escape(caption[end : word.start()]), Markup("<mark>{}</mark>").format(word.group())]
            end = word.end()
    return Markup("").join([*parts, escape(caption[end:])])


def ranks(scores: np.ndarray, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Best and worst 1-based rank of each query's best own item; they differ where it ties with foreign ones.

    Args:
        scores: (N_query, N_item).
        own: (N_query, N_item) bool, at least one True a row.
    """
    best = np.where(own, scores, -np.inf).max(axis=1, keepdims=True)
    first = 1 + (scores > best).sum(axis=1)
    return first, first + ((scores == best) & ~own).sum(axis=1)


def draw(before: tuple[np.ndarray, np.ndarray], after: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, int]]:
    """(outcome, query) pairs: PER_OUTCOME queries drawn at random of each outcome, then the largest change either way.

    Args:
        before, after: best and worst rank of each query, as `ranks` gives them.
    """
    stream = np.random.default_rng(SEED)
    first, last = before
    outcomes = {"hit": last == 1, "near miss": (first > 1) & (last <= 10), "failure": first > 10}
    chosen = []
    for outcome, mask in outcomes.items():
        queries = stream.permutation(np.flatnonzero(mask))[:PER_OUTCOME]
        chosen += [(outcome, int(query)) for query in queries]
    # places near the top matter more: from 12 to 2 is further than from 120 to 110
    change = np.log(before[1]) - np.log(after[1])
    for outcome, sign in (("helped", 1), ("harmed", -1)):
        query = int((sign * change).argmax())
        if sign * change[query] > 0:
            chosen.append((outcome, query))
    return chosen


class Rankings:
    """Queries of one direction with their items, ready to be shown.

    Args:
        pixels: (N, S, S, 3) uint8, row `image_id`.
        image_ids: (N_image,) of the columns.
        captions: N_text strings.
        image_of_text: (N_text,) column of each text's own image.
        scores: (N_text, N_image), before and after re-ranking.
        image_query: whether images are the queries.
        keywords: to highlight.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        image_ids: np.ndarray,
        captions: list[str],
        image_of_text: np.ndarray,
        scores: tuple[np.ndarray, np.ndarray],
        image_query: bool,
        keywords: Collection[str],
    ) -> None:
        self.pixels, self.image_ids, self.captions = pixels, image_ids, captions
        self.image_query, self.keywords = image_query, keywords
        string = pd.factorize(np.asarray(captions, object))[0]
        carries = np.zeros((string.max() + 1, len(image_ids)), bool)
        carries[string, image_of_text] = True
        self.same, self.own = carries[string], image_of_text[:, None] == np.arange(len(image_ids))
        self.before, self.after = (np.asarray(matrix) for matrix in scores)
        if image_query:
            self.same, self.own, self.before, self.after = self.same.T, self.own.T, self.before.T, self.after.T

    def examples(self) -> list[Example]:
        """Those that `draw` chooses."""
        drawn = draw(ranks(self.before, self.own), ranks(self.after, self.own))
        return [self._example(outcome, query) for outcome, query in drawn]

    def _example(self, outcome: str, query: int) -> Example:
        before, after = (matrix[query : query + 1] for matrix in (self.before, self.after))
        own = self.own[query : query + 1]
        return Example(
            outcome,
            self._image(query) if self.image_query else None,
            None if self.image_query else self._caption(query),
            self._top(query, before[0]),
            self._top(query, after[0]),
            *("–".join(dict.fromkeys(str(rank[0]) for rank in ranks(scores, own))) for scores in (before, after)),
        )

    def _top(self, query: int, scores: np.ndarray) -> list[Item]:
        # among tied items the query's own come first, so that they are seen
        order = np.lexsort((~self.own[query], -scores))[:SHOWN]
        return [
            Item(
                None if self.image_query else self._image(item),
                self._caption(item) if self.image_query else None,
                bool(self.own[query, item]),
                bool(self.same[query, item] and not self.own[query, item]),
            )
            for item in order
        ]

    def _image(self, index: int) -> str:
        return thumbnail(self.pixels[self.image_ids[index]])

    def _caption(self, index: int) -> Markup:
        return highlight(self.captions[index], self.keywords)


class Gallery:
    """Draws the examples of one benchmark.

    Args:
        results: of the corpus.
        benchmark: one of its members.
        pixels: (N, S, S, 3) uint8, row `image_id`.
        keywords: of the benchmark.
    """

    def __init__(self, results: CorpusResults, benchmark: str, pixels: np.ndarray, keywords: Collection[str]) -> None:
        self.results, self.benchmark, self.pixels, self.keywords = results, benchmark, pixels, frozenset(keywords)

    def retrieval(self, variant: str, split: str) -> dict[str, list[Example]]:
        """Examples of the first seed of `variant`, by direction."""
        seed = self.results.seeds[0]
        folder = self.results.matrix_folder(variant, seed, self.benchmark, split)
        texts, images = pd.read_parquet(folder / "texts.parquet"), pd.read_parquet(folder / "images.parquet")
        scores = self.results.scores(variant, seed, self.benchmark, split)
        examples = {}
        for direction in ("text_to_image", "image_to_text"):
            both = scores["plain"][direction], scores["sar"][direction]
            examples[direction] = Rankings(
                self.pixels,
                images["image_id"].to_numpy(),
                texts["caption"].tolist(),
                texts["image_of_text"].to_numpy(),
                both,
                direction == "image_to_text",
                self.keywords,
            ).examples()
        return examples

    def dropped(self, variant: str, member: int, scenes: pd.Series) -> dict[str, Any]:
        """Pairs that the last epoch of the first seed of `variant` dropped, and weak ones that it spared.

        Args:
            member: index of the benchmark in the corpus.
            scenes: scene class by image_id, "" where unknown.

        Returns:
            `groups`: per kind of weakness (and "untouched", and SPARED) up to DROPPED_PER_KIND pairs with image,
            caption, scene and similarities; `counts`: how many there are of each. Both empty if nothing was dropped.
        """
        seen = pd.read_parquet(self.results.models / variant / str(self.results.seeds[0]) / "last_epoch.parquet")
        seen = seen[seen["member"] == member]
        masks = [column for column in ("dropped_global", "dropped_local") if column in seen]
        is_dropped = seen[masks].any(axis=1)
        if not is_dropped.any():
            return {"groups": {}, "counts": {}}
        kind = seen["weak"].replace("", "untouched").where(is_dropped, SPARED)
        chosen = seen.assign(kind=kind)[is_dropped | (seen["weak"] != "")]
        groups = {}
        for name, rows in chosen.groupby("kind"):
            drawn = rows.sample(min(DROPPED_PER_KIND, len(rows)), random_state=SEED).sort_values("global")
            groups[name] = [self._pair(row, masks, scenes) for row in drawn.to_dict("records")]
        return {"groups": groups, "counts": chosen["kind"].value_counts().to_dict()}

    def _pair(self, row: dict[str, Any], masks: list[str], scenes: pd.Series) -> dict[str, Any]:
        names = [mask.removeprefix("dropped_") for mask in masks]
        return {
            "image": thumbnail(self.pixels[row["image_id"]]),
            "caption": highlight(row["caption"], self.keywords),
            "scene": scenes[row["image_id"]],
            "weak": row["weak"],
            "similarity": {name: row[name] for name in names},
            "dropped_by": [name for name in names if row[f"dropped_{name}"]],
        }
