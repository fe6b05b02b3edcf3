"""Shares in a grid, the stronger the larger, with their numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.charts import svg

CELL = 46.0


def heat_map(values: NDArray[np.float64], left: float, top: float, said: Sequence[Sequence[str]]) -> str:
    """Cells of a grid.

    Parameters
    ----------
    values : float array, shape (R, C)
        Shares in [0, 1]; a cell that is not a number stays empty.
    left, top : float
        Where the first cell begins.
    said : sequence of sequence of str
        What each cell says when pointed at, R by C.
    """
    parts = []
    for i, j in np.argwhere(np.isfinite(values)).tolist():
        value = float(values[i, j])
        x, y = left + j * CELL, top + i * CELL
        parts.append(
            svg.element(
                "rect",
                svg.tooltip(said[i][j]),
                x=x + 1,
                y=y + 1,
                width=CELL - 2,
                height=CELL - 2,
                rx=4,
                class_="cell",
                fill_opacity=0.04 + 0.96 * value,
            )
        )
        ink = "on" if value > 0.5 else "off"
        parts.append(
            svg.text(x + CELL / 2, y + CELL / 2 + 4, f"{value:.2f}", text_anchor="middle", class_=f"share {ink}")
        )
    return "".join(parts)
