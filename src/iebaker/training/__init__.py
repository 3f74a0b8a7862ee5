"""One training: its plan, its epochs and the recipe around them."""
