"""Learning curves: training loss and development figures, round by round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from fedaffect.edge.charts import svg

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
        What was measured, or the mean of several runs.
    style : str
        CSS class: ``"first"``, ``"second"``, or ``"s0"`` to ``"s9"``.
    spread : sequence of float
        Standard deviation of several runs at each round, drawn as a band; empty for a single run.
    """

    name: str
    rounds: Sequence[float]
    values: Sequence[float]
    style: str = "first"
    spread: Sequence[float] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """A point that is pointed out: the round that was chosen.

    Parameters
    ----------
    round : int
    value : float
    words : str
        What it is, such as ``"best"``.
    """

    round: int
    value: float
    words: str = "best"


def series(rounds: Sequence[Mapping[str, object]], *keys: str) -> dict[int, float]:
    """One figure by round, where it was measured.

    Parameters
    ----------
    rounds : sequence of mapping
        Lines of ``metrics.jsonl``.
    *keys : str
        Way down to the figure: ``"dev", "uar"``.
    """
    found = {}
    for record in rounds:
        value: object = record
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if isinstance(value, int | float) and math.isfinite(value):
            found[int(record["round"])] = float(value)  # type: ignore[call-overload]
    return found


def mean_curve(name: str, runs: Sequence[Mapping[int, float]], style: str = "first") -> Curve:
    """Mean and standard deviation over runs, at the rounds that all of them measured.

    Parameters
    ----------
    name : str
    runs : sequence of mapping
        As :func:`series` gives them, at least one.
    style : str
    """
    shared = sorted(set.intersection(*(set(run) for run in runs)))
    values = np.asarray([[run[number] for number in shared] for run in runs], dtype=np.float64)  # (runs, rounds)
    spread = values.std(axis=0).tolist() if len(runs) > 1 else ()
    return Curve(name, shared, values.mean(axis=0).tolist(), style, spread)


def chart(
    name: str,
    title: str,
    curves: Sequence[Curve],
    *,
    marks: Sequence[Mark] = (),
    ceiling: float | None = None,
    width: float = WIDTH,
) -> str:
    """Lines over rounds; empty where nothing was measured.

    Parameters
    ----------
    name : str
        Unique on the page.
    title : str
        What the lines are; also the vertical axis.
    curves : sequence of Curve
        A legend is drawn for a first and a second; for others the page has its own.
    marks : sequence of Mark
        Rounds that were chosen: a labelled one, or an unlabelled one for each of several runs.
    ceiling : float, optional
        Value above which the axis never goes.
    width : float
    """
    curves = [c for c in curves if c.values]
    if not curves:
        return ""
    ends = [
        v + sign * s
        for c in curves
        for v, s in zip(c.values, c.spread or [0.0] * len(c.values), strict=True)
        for sign in (-1, 1)
    ]
    low, high = svg.nice_range([*ends, *(mark.value for mark in marks)], 0.0, ceiling)
    first, last = min(min(c.rounds) for c in curves), max(max(c.rounds) for c in curves)
    x, y = svg.Scale(first, last, 52.0, width - 16), svg.Scale(low, high, HEIGHT - 46, 34.0)
    parts = [svg.axes(x, y, x_label="round", y_label=title, whole_x=True)]
    parts += [_band(curve, x, y) for curve in curves if curve.spread]
    parts += [_line(curve, x, y) for curve in curves]
    if curves[-1].style == "second":
        parts.append(_legend(curves, width))
    parts += [_mark(mark, x, y, alone=len(marks) == 1) for mark in marks]
    said = "; ".join(f"{c.name} from {c.values[0]:.3f} to {c.values[-1]:.3f}" for c in curves)
    chosen = "".join(f"; {mark.words} round {mark.round} at {mark.value:.3f}" for mark in marks)
    return svg.figure(name, width, HEIGHT, title, f"Rounds up to {last:.0f}: {said}{chosen}.", "".join(parts))


def _band(curve: Curve, x: svg.Scale, y: svg.Scale) -> str:
    xs = [x(r) for r in curve.rounds]
    over = [y(v + s) for v, s in zip(curve.values, curve.spread, strict=True)]
    under = [y(v - s) for v, s in zip(curve.values, curve.spread, strict=True)]
    points = " ".join(
        f"{px:.2f},{py:.2f}" for px, py in zip([*xs, *reversed(xs)], [*over, *reversed(under)], strict=True)
    )
    return svg.element("polygon", points=points, class_=f"band {curve.style}")


def _line(curve: Curve, x: svg.Scale, y: svg.Scale) -> str:
    xs, ys = [x(r) for r in curve.rounds], [y(v) for v in curve.values]
    spread = [f" ± {s:.3f}" for s in curve.spread] or [""] * len(xs)
    dots = [
        svg.element(
            "circle",
            svg.tooltip(f"round {r:.0f}: {curve.name} {v:.3f}{s}"),
            cx=px,
            cy=py,
            r=2.2 if len(xs) <= 60 else 4.0,
            class_=f"dot {curve.style}" if len(xs) <= 60 else "hover",
        )
        for r, v, s, px, py in zip(curve.rounds, curve.values, spread, xs, ys, strict=True)
    ]
    return svg.path(xs, ys, class_=f"line {curve.style}") + "".join(dots)


def _legend(curves: Sequence[Curve], width: float) -> str:
    parts, right = [], width - 16
    for curve in reversed(curves):
        right -= 7.0 * len(curve.name) + 10
        parts.append(svg.text(right, 22, curve.name, class_="tick"))
        parts.append(svg.element("line", x1=right - 22, x2=right - 6, y1=18, y2=18, class_=f"line {curve.style}"))
        right -= 34
    return "".join(parts)


def _mark(mark: Mark, x: svg.Scale, y: svg.Scale, *, alone: bool) -> str:
    at, value = x(mark.round), y(mark.value)
    words = f"{mark.words}: round {mark.round}, {mark.value:.3f}"
    point = svg.element("circle", svg.tooltip(words), cx=at, cy=value, r=5 if alone else 3.5, class_="chosen")
    if not alone:
        return point
    right = at < (x.start + x.stop) / 2
    return (
        svg.element("line", x1=at, x2=at, y1=y.start, y2=y.stop, class_="best")
        + point
        + svg.text(
            at + (8 if right else -8), y.start - 8, words, text_anchor="start" if right else "end", class_="note"
        )
    )
