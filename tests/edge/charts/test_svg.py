from __future__ import annotations

import pytest

from fedaffect.edge.charts.svg import Scale, element, nice_range, text


def test_scale_is_straight_and_may_run_upwards() -> None:
    scale = Scale(0.0, 10.0, 100.0, 0.0)
    assert [scale(v) for v in (0, 5, 10)] == [100.0, 50.0, 0.0]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (1.0, 40.0, [10.0, 20.0, 30.0, 40.0]),
        (0.31, 0.42, [0.325, 0.35, 0.375, 0.4]),
        (2.0, 2.0, [2.0]),
    ],
)
def test_ticks_are_round_and_inside(low: float, high: float, expected: list[float]) -> None:
    assert Scale(low, high, 0, 1).ticks(5) == pytest.approx(expected)


def test_range_has_room_but_keeps_its_bounds() -> None:
    assert nice_range([0.02, 0.98], floor=0.0, ceiling=1.0) == (0.0, 1.0)
    low, high = nice_range([3.0, 3.0])
    assert low < 3.0 < high
    assert nice_range([float("nan")]) == pytest.approx((-0.06, 1.06))


def test_words_are_escaped() -> None:
    assert text(1, 2, "a<b") == '<text x="1" y="2">a&lt;b</text>'
    assert element("rect", x=1.0 / 3, class_='"') == '<rect x="0.33" class="&quot;"/>'
