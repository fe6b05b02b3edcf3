"""Learning curves: training loss and development figures, round by round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedaffect.simulation.report import svg

WIDTH, HEIGHT = 520.0, 300.0


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a chart.

    Parameters
    ----------
    name : str
        As the legend says it.
    rounds : sequence of float
        Where it was measured.
    values : sequence of float
        What was measured; not-a-number leaves a gap out.
    style : str
        CSS class: ``"first"`` or ``"second"``.
    """

    name: str
    rounds: Sequence[float]
    values: Sequence[float]
    style: str = "first"


def series(rounds: Sequence[Mapping[str, object]], *keys: str) -> tuple[list[float], list[float]]:
    """Rounds and values of one figure, where it was measured.

    Parameters
    ----------
    rounds : sequence of mapping
        Lines of ``metrics.jsonl``.
    *keys : str
        Way down to the figure: ``"dev", "uar"``.
    """
    at, values = [], []
    for record in rounds:
        value: object = record
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            at.append(float(record["round"]))  # type: ignore[arg-type]
            values.append(float(value))
    return at, values


def chart(
    name: str,
    title: str,
    curves: Sequence[Curve],
    *,
    best: tuple[int, float] | None = None,
    percent: bool = False,
    floor: float | None = None,
) -> str:
    """Lines over rounds.

    Parameters
    ----------
    name : str
        Unique on the page.
    title : str
        What the lines are; also the vertical axis.
    curves : sequence of Curve
        One or two.
    best : tuple of int and float, optional
        Round and value to mark as the chosen one.
    percent : bool
        Whether values are shares of 1.
    floor : float, optional
        Value below which the axis never goes.
    """
    curves = [c for c in curves if c.values]
    if not curves:
        return svg.figure(name, WIDTH, 60, title, "Nothing was measured.", svg.text(8, 34, "nothing was measured"))
    every = [v for c in curves for v in c.values]
    low, high = svg.nice_range(every, floor, 1.0 if percent else None)
    last = max(max(c.rounds) for c in curves)
    x = svg.Scale(min(min(c.rounds) for c in curves), last, 52.0, WIDTH - 16)
    y = svg.Scale(low, high, HEIGHT - 46, 34.0)
    parts = [svg.axes(x, y, x_label="round", y_label=title, percent=percent, whole_x=True)]
    parts += [_line(curve, x, y, percent) for curve in curves]
    if len(curves) > 1:
        parts.append(_legend(curves))
    if best is not None:
        parts.append(_mark(best, x, y))
    ends = "; ".join(f"{c.name} from {c.values[0]:.3f} to {c.values[-1]:.3f}" for c in curves)
    chosen = f"; best round {best[0]} at {best[1]:.3f}" if best else ""
    return svg.figure(name, WIDTH, HEIGHT, title, f"Rounds up to {last:.0f}: {ends}{chosen}.", "".join(parts))


def _line(curve: Curve, x: svg.Scale, y: svg.Scale, percent: bool) -> str:
    xs, ys = [x(r) for r in curve.rounds], [y(v) for v in curve.values]
    dots = [
        svg.element(
            "circle",
            svg.tooltip(f"round {r:.0f}: {curve.name} {svg.number(v, percent)}"),
            cx=px,
            cy=py,
            r=2.2 if len(xs) <= 60 else 4.0,
            class_=f"dot {curve.style}" if len(xs) <= 60 else "hover",
        )
        for r, v, px, py in zip(curve.rounds, curve.values, xs, ys, strict=True)
    ]
    return svg.path(xs, ys, class_=f"line {curve.style}") + "".join(dots)


def _legend(curves: Sequence[Curve]) -> str:
    parts, right = [], WIDTH - 16
    for curve in reversed(curves):
        right -= 7.0 * len(curve.name) + 10
        parts.append(svg.text(right, 22, curve.name, class_="tick"))
        parts.append(svg.element("line", x1=right - 22, x2=right - 6, y1=18, y2=18, class_=f"line {curve.style}"))
        right -= 34
    return "".join(parts)


def _mark(best: tuple[int, float], x: svg.Scale, y: svg.Scale) -> str:
    at, value = x(best[0]), y(best[1])
    words = f"best: round {best[0]}, {best[1]:.3f}"
    right = at < (x.start + x.stop) / 2
    return (
        svg.element("line", x1=at, x2=at, y1=y.start, y2=y.stop, class_="best")
        + svg.element("circle", svg.tooltip(words), cx=at, cy=value, r=5, class_="chosen")
        + svg.text(
            at + (8 if right else -8), y.start - 8, words, text_anchor="start" if right else "end", class_="note"
        )
    )
