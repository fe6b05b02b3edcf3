"""The curve of accuracy against share offloaded, as an SVG file and in a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

import numpy as np
from rich.text import Text

from fedaffect.edge.calibration.curve import Curve
from fedaffect.edge.calibration.threshold import Choice

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 340.0, 268.0, 54.0, 46.0, 14.0, 44.0
# Points of a path: more than a screen shows, fewer than ten thousand requests.
_POINTS = 400

_STYLE: Final = """
svg { font: 12px system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; color-scheme: light dark;
  --page: #ffffff; --ink: #1d1f24; --soft: #5d6370; --line: #e3e4e8; --axis: #9aa0ac; --first: #2a6fdb;
  --second: #c8641b; --best: #0f8a6a; }
@media (prefers-color-scheme: dark) { svg { --page: #1d2026; --ink: #e9eaee; --soft: #a2a8b4; --line: #30343d;
  --axis: #6b7280; --first: #6ea3f5; --second: #f0a061; --best: #4fd0a9; } }
.page { fill: var(--page); } text { fill: var(--ink); } .soft { fill: var(--soft); }
.head { font-weight: 600; font-size: 13px; } .note { fill: var(--best); font-weight: 600; }
.grid { stroke: var(--line); } .axis { stroke: var(--axis); } path { fill: none; stroke-width: 2; }
.curve { stroke: var(--first); stroke-linejoin: round; } .random { stroke: var(--second); stroke-dasharray: 6 4; }
.best { stroke: var(--best); stroke-dasharray: 3 3; } .chosen { fill: var(--page); stroke: var(--best);
  stroke-width: 2.5; }
"""


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
    width, height = _WIDTH * len(panels), _HEIGHT
    spoken = "; ".join(f"{p.title}: {_summary(p)}" for p in panels)
    body = "".join(f'<g transform="translate({_n(i * _WIDTH)} 0)">{_panel(p)}</g>' for i, p in enumerate(panels))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_n(width)} {_n(height)}" role="img" '
        f'aria-labelledby="t d"><title id="t">{escape(title)}</title><desc id="d">{escape(spoken)}</desc>'
        f'<style>{_STYLE}</style><rect class="page" width="100%" height="100%"/>{body}</svg>\n'
    )


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
    right, bottom = _WIDTH - _RIGHT, _HEIGHT - _BOTTOM

    def x(share: float) -> float:
        return _LEFT + share * (right - _LEFT)

    def y(accuracy: float) -> float:
        return bottom - (accuracy - low) / (high - low) * (bottom - _TOP)

    parts = [_text(_LEFT, 20, panel.title, "head"), _text(_LEFT, 36, "accuracy, %", "soft")]
    for value in _ticks(low, high):
        parts.append(_line(_LEFT, right, y(value), y(value), "grid"))
        parts.append(_text(_LEFT - 8, y(value) + 4, f"{100 * value:.4g}", "soft", "end"))
    quarters = (0.0, 0.25, 0.5, 0.75, 1.0)
    parts += [_text(x(share), bottom + 18, f"{100 * share:g}", "soft", "middle") for share in quarters]
    parts.append(_line(_LEFT, right, bottom, bottom, "axis"))
    parts.append(_text((_LEFT + right) / 2, bottom + 36, "requests offloaded, %", "soft", "middle"))
    parts.append(_path([(x(s), y(curve.random(s))) for s in (0.0, 1.0)], "random", "at random"))
    parts.append(_path([(x(s), y(a)) for s, a in _thinned(curve)], "curve", "least confident first"))
    parts.append(_line(x(choice.share), x(choice.share), y(low), y(choice.accuracy), "best"))
    parts.append(
        f'<circle class="chosen" cx="{_n(x(choice.share))}" cy="{_n(y(choice.accuracy))}" r="5">'
        f"<title>{escape(_summary(panel))}</title></circle>"
    )
    words = f"{100 * choice.accuracy:.1f} % at {100 * choice.share:.0f} %"
    left = choice.share < 0.55
    at = x(choice.share) + (8 if left else -8)
    parts.append(_text(at, bottom - 8, words, "note", "start" if left else "end"))
    return "".join(parts)


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


def _ticks(low: float, high: float) -> list[float]:
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * 0.999)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _path(points: Sequence[tuple[float, float]], style: str, words: str) -> str:
    steps = " ".join(f"{'L' if i else 'M'}{_n(px)} {_n(py)}" for i, (px, py) in enumerate(points))
    return f'<path class="{style}" d="{steps}"><title>{escape(words)}</title></path>'


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{_n(x1)}" x2="{_n(x2)}" y1="{_n(y1)}" y2="{_n(y2)}"/>'


def _text(x: float, y: float, words: str, style: str, anchor: str = "start") -> str:
    return f'<text class="{style}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">{escape(words)}</text>'


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
