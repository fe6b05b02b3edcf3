"""How evenly a model serves people: the spread of accuracy over speakers, actors or videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.charts import svg

WIDTH, HEIGHT, BINS = 520.0, 300.0, 20


def spread_figure(each: Sequence[Mapping[str, Any]]) -> str:
    """Histogram of owners by accuracy, and a dot for each, as large as its share of the samples.

    Parameters
    ----------
    each : sequence of mapping
        ``name``, ``accuracy`` and ``examples`` of each owner of test samples.
    """
    accuracy = np.asarray([one["accuracy"] for one in each], dtype=np.float64)
    samples = np.asarray([one["examples"] for one in each], dtype=np.int64)
    names = [str(one["name"]) for one in each]
    counts, _ = np.histogram(accuracy, bins=BINS, range=(0.0, 1.0))
    x = svg.Scale(0.0, 1.0, 52.0, WIDTH - 24)
    y = svg.Scale(0.0, float(max(counts.max(), 1)) * 1.04, HEIGHT - 96, 56.0)
    strip = HEIGHT - 72
    mean, worst = float(accuracy.mean()), worst_decile(accuracy)
    parts = [_axes(x, y)]
    for i, count in enumerate(counts):
        if count:
            low, high = i / BINS, (i + 1) / BINS
            parts.append(
                svg.element(
                    "rect",
                    svg.tooltip(f"{count} with an accuracy of {low:.2f} to {high:.2f}"),
                    x=x(low) + 1,
                    y=y(float(count)),
                    width=x(high) - x(low) - 2,
                    height=y(0) - y(float(count)),
                    rx=2,
                    class_="bar",
                )
            )
    largest = float(np.sqrt(samples.max()))
    for i in np.argsort(-samples):
        radius = 2.0 + 7.0 * float(np.sqrt(samples[i])) / largest
        words = f"{names[i]}: accuracy {accuracy[i]:.3f} on {samples[i]} samples"
        parts.append(
            svg.element("circle", svg.tooltip(words), cx=x(float(accuracy[i])), cy=strip, r=radius, class_="person")
        )
    parts.append(_line(x(mean), y, strip, f"mean {mean:.3f}", side=-1 if mean > 0.8 else 1, row=0))
    parts.append(_line(x(worst), y, strip, f"worst tenth {worst:.3f}", side=1 if worst < 0.3 else -1, row=1))
    description = (
        f"{len(accuracy)} owners of test samples; mean accuracy {mean:.3f}, worst tenth {worst:.3f}, "
        f"best {float(accuracy.max()):.3f}."
    )
    return svg.figure("spread", WIDTH, HEIGHT, "Accuracy of each owner of test samples", description, "".join(parts))


def worst_decile(values: NDArray[np.float64]) -> float:
    """Mean of the lowest tenth, at least one of them."""
    return float(np.sort(values)[: max(1, round(len(values) / 10))].mean())


def _axes(x: svg.Scale, y: svg.Scale) -> str:
    floor = HEIGHT - 46
    parts = [svg.text(18, y.stop - 42, "how many", class_="name")]
    for value in y.ticks(3):
        if value == int(value):
            parts.append(svg.element("line", x1=x.start, x2=x.stop, y1=y(value), y2=y(value), class_="grid"))
            parts.append(svg.text(x.start - 8, y(value) + 4, f"{value:.0f}", text_anchor="end", class_="tick"))
    parts.append(svg.element("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    parts += [svg.text(x(value), floor + 18, f"{value:g}", text_anchor="middle", class_="tick") for value in x.ticks(5)]
    words = "accuracy (a dot is one owner, its area the number of samples)"
    parts.append(svg.text((x.start + x.stop) / 2, floor + 36, words, text_anchor="middle", class_="name"))
    return "".join(parts)


def _line(at: float, y: svg.Scale, bottom: float, words: str, side: int, row: int) -> str:
    anchor = "start" if side > 0 else "end"
    return svg.element("line", x1=at, x2=at, y1=y.stop - 20 - 16 * row, y2=bottom + 14, class_="best") + svg.text(
        at + 6 * side, y.stop - 12 - 16 * row, words, text_anchor=anchor, class_="note"
    )
