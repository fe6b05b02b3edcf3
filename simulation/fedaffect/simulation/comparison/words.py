"""A comparison as rows of a table, the same in a terminal and on a page; differences are fractions, as figures are."""

from __future__ import annotations

from typing import TypeAlias

from fedaffect.client.figures import FIGURES
from fedaffect.simulation.comparison.compare import Comparison, shown_p
from fedaffect.simulation.comparison.seeds import smallest_wilcoxon_p

HEADINGS = ("figure", "difference", "test", "result")
Row: TypeAlias = tuple[str, str, str, str]


def title(comparison: Comparison) -> str:
    """Which is compared with which."""
    return f"{comparison.second} minus {comparison.first}"


def rows(comparison: Comparison) -> list[Row]:
    """Every test that was made: over seeds, and over samples where predictions were kept."""
    return [*_over_seeds(comparison), *_over_samples(comparison)]


def _over_seeds(comparison: Comparison) -> list[Row]:
    found = []
    for key, paired in comparison.seeds.items():
        count = len(paired.seeds)
        spread = f" ± {paired.std:.3f}" if count > 1 else ""
        difference = f"{paired.mean:+.3f}{spread}"
        if paired.t_p is None or paired.wilcoxon_p is None:
            found.append((FIGURES[key], difference, "", "one seed"))
            continue
        floor = smallest_wilcoxon_p(count)
        bound = f", never below {floor:.3g}" if floor > comparison.alpha else ""
        said = f"p = {shown_p(paired.t_p)}; Wilcoxon p = {shown_p(paired.wilcoxon_p)}{bound}"
        found.append((FIGURES[key], difference, f"paired t, {count} seeds", said))
    return found


def _over_samples(comparison: Comparison) -> list[Row]:
    tests = comparison.samples
    if tests is None:
        return [("", "", "over samples", "not possible: no predictions of the same test samples")]
    intervals = [("UAR", "bootstrap of samples", tests.uar), ("accuracy", "bootstrap of samples", tests.accuracy)]
    if tests.uar_by_owner is not None:
        intervals.append(("UAR", "bootstrap of owners", tests.uar_by_owner))
    found = []
    for name, test, interval in intervals:
        said = f"{100 * interval.level:.3g} % interval {interval.low:+.3f} to {interval.high:+.3f}"
        found.append((name, f"{interval.difference:+.3f}", f"{test}, {tests.samples:,}", said))
    for seed, result in tests.mcnemar.items():
        said = f"p = {shown_p(result.p)}; right alone {result.only_second:,} against {result.only_first:,} times"
        found.append(("accuracy", "", f"McNemar exact, seed {seed}", said))
    return found
