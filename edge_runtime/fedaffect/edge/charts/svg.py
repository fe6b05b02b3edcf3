"""Just enough SVG to draw a report: elements as strings, linear scales, round ticks.

Written out directly rather than by a plotting library, so that a figure takes its colours from the page it stands on
(light or dark), carries a tooltip on each mark and costs no import.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from itertools import count

import numpy as np


def element(tag: str, content: str = "", /, **attributes: object) -> str:
    """One SVG element.

    Parameters
    ----------
    tag : str
        Its name.
    content : str
        What stands inside it, already SVG.
    **attributes : object
        Numbers are rounded to hundredths; ``_`` in a name becomes ``-`` and a trailing one is dropped (``class_``).
    """
    written = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(v)}"' for key, v in attributes.items())
    return f"<{tag}{written}>{content}</{tag}>" if content else f"<{tag}{written}/>"


def text(x: float, y: float, words: str, **attributes: object) -> str:
    """Words at a place, escaped."""
    return element("text", escape(words), x=x, y=y, **attributes)


def tooltip(words: str) -> str:
    """What a mark says when pointed at; goes inside the mark."""
    return element("title", escape(words))


def path(xs: list[float], ys: list[float], **attributes: object) -> str:
    """A line through points, in SVG coordinates."""
    steps = " ".join(
        f"{'M' if i == 0 else 'L'}{_value(x)} {_value(y)}" for i, x, y in zip(count(), xs, ys, strict=False)
    )
    return element("path", d=steps, fill="none", **attributes)


def figure(name: str, width: float, height: float, title: str, description: str, body: str) -> str:
    """A whole figure with the title and description that a screen reader speaks.

    Parameters
    ----------
    name : str
        Unique on the page; ids are made from it.
    width, height : float
        Size in user units; the figure scales with its column.
    title, description : str
        What it shows, in a few words and in a sentence with the figures that matter.
    body : str
        Its elements.
    """
    named = element("title", escape(title), id=f"{name}-title") + element(
        "desc", escape(description), id=f"{name}-desc"
    )
    return element(
        "svg",
        named + body,
        viewBox=f"0 0 {_value(width)} {_value(height)}",
        style=f"max-width: {1.25 * width:.0f}px",
        role="img",
        aria_labelledby=f"{name}-title {name}-desc",
        xmlns="http://www.w3.org/2000/svg",
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """A straight line from values to places.

    Parameters
    ----------
    low, high : float
        The values at the two ends.
    start, stop : float
        Where those ends lie, in user units.
    """

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Place of a value."""
        span = (self.high - self.low) or 1.0
        return self.start + (value - self.low) / span * (self.stop - self.start)

    def ticks(self, about: int = 5) -> list[float]:
        """Some ``about`` round values (1, 2, 2.5 or 5 times a power of ten) inside the scale."""
        span = self.high - self.low
        if span <= 0 or not math.isfinite(span):
            return [self.low]
        rough = span / max(about, 1)
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
        first = math.ceil(self.low / step - 1e-9)
        return [float(k * step) for k in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_range(values: list[float], floor: float | None = None, ceiling: float | None = None) -> tuple[float, float]:
    """Lowest and highest finite value with a little room, kept within ``floor`` and ``ceiling``."""
    finite = np.asarray([v for v in values if math.isfinite(v)] or [0.0, 1.0])
    low, high = float(finite.min()), float(finite.max())
    room = 0.06 * ((high - low) or abs(high) or 1.0)
    low, high = low - room, high + room
    if floor is not None:
        low = max(low, floor)
    if ceiling is not None:
        high = min(high, ceiling)
    return low, high


def axes(x: Scale, y: Scale, *, x_label: str, y_label: str, percent: bool = False, whole_x: bool = False) -> str:
    """Horizontal grid lines, ticks and names of two axes."""
    parts = []
    for value in y.ticks(4):
        at = y(value)
        parts.append(element("line", x1=x.start, x2=x.stop, y1=at, y2=at, class_="grid"))
        parts.append(text(x.start - 8, at + 4, number(value, percent), text_anchor="end", class_="tick"))
    for value in x.ticks(6):
        if whole_x and value != int(value):
            continue
        parts.append(
            text(x(value), y.start + 18, number(value, percent and not whole_x), text_anchor="middle", class_="tick")
        )
    parts.append(element("line", x1=x.start, x2=x.stop, y1=y.start, y2=y.start, class_="axis"))
    parts.append(text((x.start + x.stop) / 2, y.start + 36, x_label, text_anchor="middle", class_="name"))
    parts.append(text(x.start - 34, y.stop - 12, y_label, class_="name"))
    return "".join(parts)


def number(value: float, percent: bool) -> str:
    """A tick's value in few characters."""
    return f"{100 * value:.3g} %" if percent else f"{value:,.4g}" if abs(value) < 1e5 else f"{value:.2g}"


def _value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return escape(str(value), quote=True)
