"""Keywords of a benchmark's captions: mining them, and masking them in a caption (method: KER)."""
