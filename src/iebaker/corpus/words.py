"""What counts as a word, for mining keywords and for finding their tokens (method: KER 1)."""

import re

# letters and digits; everything else separates
WORD = re.compile(r"[^\W_]+")
# a caption with one of these is no longer true of the image turned or mirrored
DIRECTIONS = frozenset(
    "left right leftmost rightmost top bottom upper lower above below up down upward downward north south east west "
    "northern southern eastern western northeast northwest southeast southwest horizontal vertical horizontally "
    "vertically diagonal diagonally clockwise counterclockwise".split()
)


def names_direction(caption: str) -> bool:
    """Whether any word of a caption is one of `DIRECTIONS`."""
    return not DIRECTIONS.isdisjoint(WORD.findall(caption.lower()))
