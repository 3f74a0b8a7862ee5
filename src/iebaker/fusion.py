"""The weighted sum of global and local similarity (method: Similarity), for matrices on disk: needs no torch."""

import numpy as np


def fuse(
    global_values: np.ndarray,
    local_values: np.ndarray,
    global_weight: float = 0.6,
    local_weight: float = 0.4,
    global_scale: float = 1.0,
    local_scale: float = 1.0,
) -> np.ndarray:
    """Fused similarity w_g S / sigma_g + w_l L / sigma_l; the defaults are the published constants.

    Args:
        global_values: (N_text, N_image) global similarities S.
        local_values: (N_text, N_image) local similarities L, not scaled by s.
        global_weight: w_g.
        local_weight: w_l.
        global_scale: sigma_g, S's standard deviation on validation where S is to be standardised.
        local_scale: sigma_l, L's standard deviation on validation where L is to be standardised.
    """
    return global_values * (global_weight / global_scale) + local_values * (local_weight / local_scale)
