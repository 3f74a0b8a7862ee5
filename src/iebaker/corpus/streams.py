"""Random streams, one a purpose: changing how one is used leaves the others as they were."""

import numpy as np

# numbers are part of every result: append, never renumber
PURPOSES = {
    "data": 0,
    "augmentation": 1,
    "masking": 2,
    "bank": 3,
    "injection": 4,
    "weights": 5,
    "dropout": 6,
}


def stream(seed: int, purpose: str) -> np.random.Generator:
    """The random stream of one purpose, a key of PURPOSES, under one seed."""
    return np.random.default_rng(np.random.SeedSequence([seed, PURPOSES[purpose]]))
