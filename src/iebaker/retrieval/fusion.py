"""The weighted sum of global and local similarity (method: Similarity), for matrices on disk: needs no torch."""

from pathlib import Path
from typing import NamedTuple, overload

import numpy as np

from iebaker.config.params import FusionParams
from iebaker.retrieval.matrices import BANK_IMAGES, BANK_TEXTS, EVALUATION, GLOBAL, LOCAL, open_matrix
from iebaker.retrieval.rerank.selection import BankScores


class Scales(NamedTuple):
    """Standard deviations on validation that S and L are divided by before fusion; 1 where they are not."""

    global_scale: float = 1.0
    local_scale: float = 1.0


UNSCALED = Scales()


def fuse(
    global_values: np.ndarray,
    local_values: np.ndarray,
    global_weight: float = 0.6,
    local_weight: float = 0.4,
    scales: Scales = UNSCALED,
) -> np.ndarray:
    """Fused similarity w_g S / sigma_g + w_l L / sigma_l; the defaults are the published constants.

    Args:
        global_values: (N_text, N_image) global similarities S.
        local_values: (N_text, N_image) local similarities L, not scaled by s.
        global_weight: w_g.
        local_weight: w_l.
        scales: sigma_g and sigma_l.
    """
    return global_values * (global_weight / scales.global_scale) + local_values * (local_weight / scales.local_scale)


def scales_of(folder: Path, standardise: bool) -> Scales:
    """Scales from one seed's validation matrices; 1 unless `standardise`."""
    local = open_matrix(folder, LOCAL)
    if not standardise or local is None:
        return UNSCALED
    return Scales(
        *(float(np.std(np.asarray(values), dtype=np.float64)) for values in (open_matrix(folder, GLOBAL), local))
    )


@overload
def fused(folder: Path, params: FusionParams, scales: Scales) -> np.ndarray: ...
@overload
def fused(folder: Path, params: FusionParams, scales: Scales, prefix: str) -> np.ndarray | None: ...
def fused(folder: Path, params: FusionParams, scales: Scales, prefix: str = EVALUATION) -> np.ndarray | None:
    """Fused similarities, (N_text, N_image) float32; S alone where L was not trained; None without matrix."""
    global_values, local_values = open_matrix(folder, GLOBAL, prefix), open_matrix(folder, LOCAL, prefix)
    if local_values is None:
        return global_values
    values = fuse(
        np.asarray(global_values), np.asarray(local_values), params.global_weight, params.local_weight, scales
    )
    return values.astype(np.float32)


def bank_of(folder: Path, params: FusionParams, scales: Scales) -> BankScores:
    """Fused similarities against training queries, for `querybank`; empty if the export wrote no bank."""
    return BankScores(fused(folder, params, scales, BANK_TEXTS), fused(folder, params, scales, BANK_IMAGES))
