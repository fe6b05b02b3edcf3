"""A client's part in central privacy: its whole update within a norm, and one bit that says whether it was."""

from __future__ import annotations

import numpy as np

from fedaffect.client.layout import Values

# What rounding to float32 may add to an update's norm, with room: parameters are sent, not their change.
_MARGIN = 1e-4


def clip_update(start: Values, trained: Values, clip_norm: float) -> tuple[Values, bool]:
    """Bound a client's update: start + min(1, S / |trained - start|) (trained - start).

    The client does this, so the guarantee holds against those who see the model only if clients run this code; where
    the server sees single updates it checks their norms, behind secure aggregation it cannot.

    Parameters
    ----------
    start, trained : Values, shape (P,)
    clip_norm : float
        S.

    Returns
    -------
    parameters : Values, shape (P,)
        An update that is no number becomes no update: whether a run goes on must not depend on one client.
    within : bool
        Whether it had been within S before; adaptive clipping asks (Andrew et al. 2021).
    """
    change = trained - start
    arrays = isinstance(change, np.ndarray)
    norm = float(np.linalg.norm(change.astype(np.float64)) if arrays else change.double().norm())
    if not norm < float("inf"):
        return start.copy() if arrays else start.clone(), False
    within = norm <= clip_norm
    if norm > clip_norm * (1 - _MARGIN):
        change *= clip_norm * (1 - _MARGIN) / norm
    return start + change, within
