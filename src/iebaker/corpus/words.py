"""What counts as a word, for mining keywords and for finding their tokens (method: KER 1)."""

import re

# letters and digits; everything else separates
WORD = re.compile(r"[^\W_]+")
