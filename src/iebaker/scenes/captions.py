"""Captions that are true of a scene: sentences of `templates` filled with the scene's facts."""

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from iebaker.scenes.templates import EXTRA, SCENES
from iebaker.scenes.words import COUNTS, WORDS

CAPTIONS_PER_IMAGE = 5
# how many different captions an image has, as in RSICD between the extremes of its training and its test images
DISTINCT = (5, 5, 5, 5, 5, 5, 5, 5, 4, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 1)
EXTRA_SHARE = 0.4

CONDITION = re.compile(r"^\{(\w+)=(\w+)\}")
ALTERNATIVES = re.compile(r"\(([^()]*)\)")
FACT = re.compile(r"\{(\w+)[:}]")
SLOT = re.compile(r"\{(\w+)(?::([^{}]*))?\}")
Choice = TypeVar("Choice")


class Caption(NamedTuple):
    """A sentence and the facts that it states."""

    text: str
    facts: frozenset[tuple[str, str]]

    def holds(self, facts: Mapping[str, str]) -> bool:
        """Whether everything that the caption states is so in a scene of the same class."""
        return all(facts.get(fact) == value for fact, value in self.facts)


def describe(scene: str, facts: Mapping[str, str], generator: np.random.Generator) -> list[Caption]:
    """Five captions, in random order, of which some may be equal."""
    templates = [template for template in SCENES[scene] if _fits(template, facts)]
    found: list[Caption] = []
    for _ in range(_choose(DISTINCT, generator)):
        caption = _write(_choose(templates, generator), facts, generator)
        if caption not in found:
            found.append(caption)
    captions = found + [_choose(found, generator) for _ in range(CAPTIONS_PER_IMAGE - len(found))]
    return [captions[index] for index in np.argsort(generator.random(CAPTIONS_PER_IMAGE), kind="stable")]


def _choose(options: Sequence[Choice], generator: np.random.Generator) -> Choice:
    return options[int(generator.integers(len(options)))]


def _fits(template: str, facts: Mapping[str, str]) -> bool:
    condition = CONDITION.match(template)
    if condition and facts.get(condition[1]) != condition[2]:
        return False
    return all(fact in facts for fact in FACT.findall(template))


def _write(template: str, facts: Mapping[str, str], generator: np.random.Generator) -> Caption:
    condition = CONDITION.match(template)
    sentence = CONDITION.sub("", template)
    if "near" in facts and "{near" not in sentence and float(generator.random()) < EXTRA_SHARE:
        sentence = _choose(EXTRA, generator).replace("{sentence}", sentence)
    slots = set(FACT.findall(sentence))
    stated = {(fact, facts[fact]) for fact in slots | ({condition[1]} if condition else set())}
    sentence = ALTERNATIVES.sub(lambda match: _choose(match[1].split("|"), generator), sentence)
    words = {}
    for fact in sorted(slots):
        value = facts[fact]
        words[fact] = _choose(COUNTS.get(value) or WORDS.get(fact, {}).get(value) or (value,), generator)
    while SLOT.search(sentence):
        sentence = SLOT.sub(lambda match: _fill(words[match[1]], match[2]), sentence)
    return Caption(re.sub(r"\ba (?=[aeio])", "an ", sentence) + " .", frozenset(stated))


def _fill(words: str, noun: str | None) -> str:
    """The words themselves, the words as the number of a noun, or the verb that agrees with them."""
    if noun is None:
        return words
    if noun == "are":
        return "are" if _plural(words) else "is"
    return f"{words} {noun if words in ('a', 'one') else noun + 's'}"


def _plural(words: str) -> bool:
    """Whether a phrase takes "are": a bare number does unless it is one, a noun phrase if its head ends in s."""
    if words in ("a", "one"):
        return False
    head = re.split(r" (?:with|of) ", words)[0]
    return " " not in head or (head.endswith("s") and not head.endswith("grass"))
