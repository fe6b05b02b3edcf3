"""What a masked sum decodes to, as the sums that plain aggregation would have taken."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fedaffect.client.fixed_point import FRACTION_BITS, FixedPointSum
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.secagg.encoding import Decoded, groups_of


def fixed_point_sum(layout: ArrayLayout, start: Tensor, decoded: Decoded, clients: int) -> FixedPointSum:
    """The sum that plain aggregation would have taken: of weight x parameters rather than of weight x change.

    Parameters
    ----------
    layout : ArrayLayout
    start : Tensor of float32, shape (P,)
        The round's global parameters.
    decoded : Decoded
    clients : int
        How many are in it.
    """
    unit = float(2**FRACTION_BITS)
    total = np.empty(layout.size, np.int64)
    parameters = start.double().numpy()
    for group, run in layout.groups:
        total[run] = np.rint((parameters[run] * decoded.weights[group] + decoded.changes[run]) * unit)
    return _sum(layout, total, decoded.weights, clients)


def beside_sum(layout: ArrayLayout, values: NDArray[np.float64], clients: int) -> FixedPointSum:
    """A sum in which each client counts once, of what was sent beside the parameters."""
    total = np.rint(values * 2**FRACTION_BITS).astype(np.int64)
    return _sum(layout, total, dict.fromkeys(groups_of(layout), clients), clients)


def _sum(layout: ArrayLayout, total: NDArray[np.int64], weights: Mapping[str, int], clients: int) -> FixedPointSum:
    return FixedPointSum.from_arrays(
        layout,
        {
            "total": total,
            "weights": np.array([weights[group] for group in sorted(weights)], np.int64),
            "count": np.array([clients]),
            "reach": np.array([float(torch.from_numpy(total).abs().max()) / 2**FRACTION_BITS]),
        },
    )
