"""Confusion matrix: what was said against what was heard."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.charts import svg

CELL = 58.0


def confusion_figure(confusion: NDArray[np.int64], labels: Sequence[str]) -> str:
    """Shares of each true label, with counts.

    Parameters
    ----------
    confusion : int64 array, shape (C, C)
        Rows true, columns predicted.
    labels : sequence of str
        Their names, C of them.
    """
    classes = len(labels)
    totals = confusion.sum(axis=1, keepdims=True)
    shares = np.divide(confusion, totals, out=np.zeros(confusion.shape), where=totals > 0)
    left, top = 18.0 + 7.2 * max(len(x) for x in labels), 44.0
    parts = [svg.text(left, 14, "predicted →", class_="name"), svg.text(6, top - 10, "true ↓", class_="name")]
    for i, label in enumerate(labels):
        middle = (i + 0.5) * CELL
        parts.append(svg.text(left + middle, top - 10, _short(label), text_anchor="middle", class_="tick"))
        parts.append(svg.text(left - 8, top + middle + 4, label, text_anchor="end", class_="tick"))
        parts += [_cell(left, top, i, j, shares[i, j], int(confusion[i, j]), labels) for j in range(classes)]
    recalls = [shares[i, i] for i in range(classes) if totals[i, 0]]
    worst = min((i for i in range(classes) if totals[i, 0]), key=lambda i: shares[i, i], default=0)
    description = (
        f"{int(confusion.sum())} test samples; mean recall {np.mean(recalls) if recalls else 0:.3f}; "
        f"hardest: {labels[worst]} at {shares[worst, worst]:.3f}."
    )
    width, height = left + classes * CELL + 6, top + classes * CELL + 6
    return svg.figure("confusion", width, height, "Confusion matrix on the test split", description, "".join(parts))


def _cell(left: float, top: float, i: int, j: int, share: float, count: int, labels: Sequence[str]) -> str:
    x, y = left + j * CELL, top + i * CELL
    words = f"{labels[i]} taken for {labels[j]}: {count} ({share:.3f} of {labels[i]})"
    shade = svg.element(
        "rect",
        svg.tooltip(words),
        x=x + 1,
        y=y + 1,
        width=CELL - 2,
        height=CELL - 2,
        rx=4,
        class_="cell",
        fill_opacity=0.04 + 0.96 * float(share),
    )
    ink = "on" if share > 0.5 else "off"
    middle = x + CELL / 2
    return (
        shade
        + svg.text(middle, y + CELL / 2 + 1, f"{share:.2f}", text_anchor="middle", class_=f"share {ink}")
        + svg.text(middle, y + CELL / 2 + 17, f"{count:,}", text_anchor="middle", class_=f"count {ink}")
    )


def _short(label: str) -> str:
    return label if len(label) <= 8 else f"{label[:7]}…"
