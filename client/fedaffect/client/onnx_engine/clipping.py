"""Sums of clipped per-example gradients, as :mod:`fedaffect.client.privacy.clipping` makes them with torch.

Each example passes the training step alone, without padding and without dropout, so that its gradient is at hand whole
and depends on no other example.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.onnx_engine.graph import ClassScores, StepBatch, StepGraph
from fedaffect.client.privacy.clip_bounds import LEAST_NORM, layer_norms

_WHOLE: Final = 1.0


def clipped_sum(
    step: StepGraph,
    parameters: NDArray[np.float32],
    batch: StepBatch,
    scored: ClassScores,
    clipping: str,
    clip_norm: float,
) -> NDArray[np.float32]:
    """The sum over examples of min(1, C / |g_i|) g_i, shape (P,); g_i whose norm is no number count as zero.

    Parameters
    ----------
    step : StepGraph
    parameters : float32 array, shape (P,)
    batch : StepBatch
        Its weights are 1 for examples that count, else 0.
    scored : ClassScores
    clipping : {"flat", "per-layer", "ghost"}
        What is clipped apart; flat and ghost are the same sums.
    clip_norm : float
        C.
    """
    layout = step.about.layout
    bounds = layer_norms(clipping, clip_norm, len(layout.names))
    parts = layout.offsets if len(bounds) > 1 else (0, layout.size)
    total = np.zeros(layout.size, np.float32)
    for place in range(len(batch.weights)):
        if not batch.weights[place]:
            continue
        gradient, _ = step.gradient(parameters, batch.only(place), scored)
        # A whole example or nothing of it.
        if not np.isfinite(np.linalg.norm(gradient)):
            continue
        for start, stop, bound in zip(parts, parts[1:], bounds, strict=False):
            norm = float(np.linalg.norm(gradient[start:stop]))
            total[start:stop] += np.float32(min(_WHOLE, bound / (norm + LEAST_NORM))) * gradient[start:stop]
    return total
