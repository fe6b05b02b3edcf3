"""The curve of accuracy against share offloaded, as an SVG file and in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from rich.text import Text

from fedaffect.edge.calibration.curve import Curve
from fedaffect.edge.calibration.threshold import Choice
from fedaffect.edge.charts import svg
from fedaffect.edge.charts.style import CHART_STYLE

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 340.0, 268.0, 54.0, 46.0, 26.0, 44.0
# Points of a path: more than a screen shows, fewer than ten thousand requests.
_POINTS = 400


@dataclass(frozen=True, slots=True)
class Panel:
    """One curve of a figure.

    Parameters
    ----------
    title : str
        Above it.
    curve : Curve
        What is drawn, with the straight line of offloading at random beside it.
    choice : Choice
        The point that is marked.
    """

    title: str
    curve: Curve
    choice: Choice


def curve_svg(panels: Sequence[Panel], title: str) -> str:
    """A standalone SVG document, panels side by side, in light and dark colours.

    Parameters
    ----------
    panels : sequence of Panel
        One or more.
    title : str
        What the figure shows; a screen reader speaks it with each panel's figures.
    """
    width = _WIDTH * len(panels)
    spoken = "; ".join(f"{p.title}: {_summary(p)}" for p in panels)
    drawn = [svg.element("g", _panel(p), transform=f"translate({i * _WIDTH:g} 0)") for i, p in enumerate(panels)]
    paper = svg.element("rect", class_="paper", width="100%", height="100%")
    body = svg.element("style", CHART_STYLE) + paper + "".join(drawn)
    return svg.figure("offloading", width, _HEIGHT, title, spoken, body) + "\n"


def curve_text(panel: Panel, width: int = 64, height: int = 14) -> Text:
    """The same in characters: ``●`` the curve, ``·`` offloading at random, ``◆`` the chosen point.

    Parameters
    ----------
    panel : Panel
        What is drawn.
    width, height : int
        Of the field that it is drawn in, in characters.
    """
    curve, choice = panel.curve, panel.choice
    low, high = _range(curve)
    cells = [[" "] * width for _ in range(height)]

    def put(share: float, accuracy: float, mark: str) -> None:
        row = round((high - accuracy) / (high - low) * (height - 1))
        cells[row][round(share * (width - 1))] = mark

    for column in range(width):
        share = column / (width - 1)
        put(share, curve.random(share), "·")
        put(share, float(np.interp(share, curve.shares, curve.accuracies)), "●")
    put(choice.share, choice.accuracy, "◆")
    styles = {"●": "blue", "·": "dim", "◆": "bold green"}
    drawn = Text(f"{panel.title}: {_summary(panel)}\n", no_wrap=True, overflow="ignore")
    for row, line in enumerate(cells):
        value = high - row / (height - 1) * (high - low)
        drawn.append(f"{100 * value:6.1f} % │" if row in (0, height // 2, height - 1) else f"{'':8} │", "dim")
        for mark in line:
            drawn.append(mark, styles.get(mark, ""))
        drawn.append("\n")
    drawn.append(f"{'':9}└{'─' * width}\n{'':10}0 %{'offloaded':^{width - 8}}100 %\n", "dim")
    return drawn


def _panel(panel: Panel) -> str:
    curve, choice = panel.curve, panel.choice
    low, high = _range(curve)
    x = svg.Scale(0.0, 1.0, _LEFT, _WIDTH - _RIGHT)
    y = svg.Scale(low, high, _HEIGHT - _BOTTOM, _TOP)
    left = choice.share < 0.55
    words = f"{100 * choice.accuracy:.1f} % at {100 * choice.share:.0f} %"
    at, height = x(choice.share), y(choice.accuracy)
    thinned = _thinned(curve)
    return "".join(
        [
            svg.text(_LEFT, 18, panel.title, class_="head"),
            svg.axes(x, y, x_label="requests offloaded", y_label="accuracy", percent=True),
            svg.path([x.start, x.stop], [y(curve.random(share)) for share in (0.0, 1.0)], class_="random"),
            svg.path([x(share) for share, _ in thinned], [y(accuracy) for _, accuracy in thinned], class_="curve"),
            svg.element("line", x1=at, x2=at, y1=y.start, y2=height, class_="best"),
            svg.element("circle", svg.tooltip(_summary(panel)), cx=at, cy=height, r=5, class_="chosen"),
            svg.text(
                at + (8 if left else -8), y.start - 8, words, class_="note", text_anchor="start" if left else "end"
            ),
        ]
    )


def _summary(panel: Panel) -> str:
    curve, choice = panel.curve, panel.choice
    words = f"edge {100 * curve.edge_accuracy:.1f} %, cloud {100 * curve.cloud_accuracy:.1f} %, "
    words += f"{100 * choice.accuracy:.1f} % with {100 * choice.share:.1f} % offloaded"
    words += f" (at random {100 * choice.random_accuracy:.1f} %)"
    return words if math.isnan(choice.recovered) else f"{words}, {100 * choice.recovered:.0f} % of the gap"


def _range(curve: Curve) -> tuple[float, float]:
    low, high = float(curve.accuracies.min()), float(curve.accuracies.max())
    room = max(0.08 * (high - low), 0.005)
    return low - room, high + room


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    places = np.unique(np.linspace(0, len(curve.shares) - 1, min(_POINTS, len(curve.shares))).round().astype(int))
    return [(float(curve.shares[i]), float(curve.accuracies[i])) for i in places]
