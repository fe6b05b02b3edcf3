"""How example gradients are clipped, by name, and the bounds that follow."""

from __future__ import annotations

import math
from typing import Final

from fedaffect.edge.errors import unknown_name

FLAT, PER_LAYER, GHOST = "flat", "per-layer", "ghost"
CLIPPINGS: Final = (FLAT, PER_LAYER, GHOST)
# As Opacus: keeps a gradient of zero from dividing by zero.
LEAST_NORM: Final = 1e-6


def layer_norms(clipping: str, clip_norm: float, parameters: int) -> tuple[float, ...]:
    """Bounds of the parts that are clipped apart; the root of the sum of their squares is ``clip_norm``.

    Parameters
    ----------
    clipping : {"flat", "per-layer", "ghost"}
    clip_norm : float
        C, what adding or removing one example may change at most, in the 2-norm.
    parameters : int
        Number of parameter tensors; per-layer clipping bounds each alone by C / sqrt(number).
    """
    if clipping not in CLIPPINGS:
        raise unknown_name("clipping", clipping, CLIPPINGS)
    if clipping == PER_LAYER:
        return (clip_norm / math.sqrt(parameters),) * parameters
    return (clip_norm,)
