"""Weakly correlated captions: what a share of the training captions is replaced by, in three kinds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from iebaker.scenes.captions import Caption
from iebaker.scenes.templates import VAGUE

KINDS = ("vague", "sibling", "other")


class Described(NamedTuple):
    """An image as far as its captions are concerned."""

    scene: str
    facts: dict[str, str]
    captions: list[Caption]


class Replacement(NamedTuple):
    """A weak caption and its kind."""

    kind: str
    text: str


def replacements(
    images: Sequence[Described], rate: float, order: np.random.Generator, content: np.random.Generator
) -> dict[tuple[int, int], Replacement]:
    """Weak captions by (image, position), for a share `rate` of all captions, the kinds in equal parts.

    `order` decides which captions are replaced, `content` by what. A lower rate replaces a part of what a higher rate
    replaces, by the same words: every caption has its kind and its replacement at all rates.
    """
    pairs = [(image, position) for image in range(len(images)) for position in range(len(images[image].captions))]
    ranks = np.argsort(order.random(len(pairs)), kind="stable")
    by_scene: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        by_scene.setdefault(image.scene, []).append(index)
    chosen = {}
    for rank, pair in enumerate(ranks[: round(rate * len(pairs))]):
        image, position = pairs[pair]
        kind = KINDS[rank % len(KINDS)]
        chosen[image, position] = Replacement(kind, _replace(kind, image, images, by_scene, content))
    return chosen


def _replace(
    kind: str, image: int, images: Sequence[Described], by_scene: dict[str, list[int]], generator: np.random.Generator
) -> str:
    scene, facts, captions = images[image]
    if kind == "vague":
        return VAGUE[int(generator.integers(len(VAGUE)))] + " ."
    own = {caption.text for caption in captions}
    if kind == "sibling":
        false = [
            caption
            for sibling in by_scene[scene]
            for caption in images[sibling].captions
            if caption.text not in own and not caption.holds(facts)
        ]
        if false:
            return false[int(generator.integers(len(false)))].text
    # of another class; a class of one image, or whose images agree in everything, has no sibling to borrow from
    others = [index for name, members in by_scene.items() if name != scene for index in members]
    borrowed = images[others[int(generator.integers(len(others)))]].captions
    return borrowed[int(generator.integers(len(borrowed)))].text
