"""What came out for each row: figures over seeds or folds, and tests against the row it is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import FedAffectError
from fedaffect.simulation.comparison.compare import Comparison, Side, compare
from fedaffect.simulation.recorded_run import RecordedRun
from fedaffect.simulation.reproducing.table import Count, Row, Table


@dataclass(frozen=True, slots=True)
class Spread:
    """One figure over several models.

    Parameters
    ----------
    mean, std, low, high : float
        ``std`` is the sample standard deviation, 0 for a single model.
    count : int
        How many models: one a seed, or one a fold of each seed.
    """

    mean: float
    std: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else 0.0, min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class RowResult:
    """One row as it stands.

    Parameters
    ----------
    row : Row
    runs : mapping of int to RecordedRun
        Finished runs by seed.
    elsewhere : sequence of mapping
        Where models of another row answered this one's corpus: what each of them reached.
    why_not : str
        Why there is no figure.
    failed : bool
        Whether that is an error, which a second call may put right.
    """

    row: Row
    runs: Mapping[int, RecordedRun] = field(default_factory=dict)
    elsewhere: Sequence[Mapping[str, Any]] = ()
    why_not: str = ""
    failed: bool = False

    @property
    def tests(self) -> list[Mapping[str, Any]]:
        """Test figures of each model: one a seed, or one a fold of each seed."""
        if self.elsewhere:
            return list(self.elsewhere)
        summaries = [run.summary for run in self.runs.values() if run.summary is not None]
        return [one["test"] for summary in summaries for one in summary.get("folds") or [summary]]

    def figures(self) -> dict[str, Spread]:
        """Each figure over all models."""
        tests = self.tests
        return {key: Spread.of([float(test[key]) for test in tests]) for key in FIGURES} if tests else {}

    def pooled(self) -> dict[str, Spread]:
        """Figures of the answers of all folds together, a value a seed; nothing for runs without folds.

        With few people a fold, not every class is in each of them, and means over folds say little.
        """
        each = [pooled for run in self.runs.values() if (pooled := (run.summary or {}).get("test_pooled"))]
        return {key: Spread.of([float(one[key]) for one in each]) for key in FIGURES if each and key in each[0]}

    def by_modality(self) -> dict[str, dict[str, float]]:
        """Figures of each modality alone, and of all together, as means over seeds."""
        each = [run.summary["test_by_modality"] for run in self.runs.values() if run.summary is not None]
        names = [name for name in (each[0] if each else {}) if all(name in one for one in each)]
        return {name: {key: fmean(one[name][key] for one in each) for key in FIGURES} for name in names}

    def per_class(self) -> dict[str, dict[str, float]]:
        """Recall, precision and F1 of each class, as means over seeds; folds of a seed are pooled."""
        each = [run.summary["test"]["per_class"] for run in self.runs.values() if run.summary is not None]
        each = each or [one["per_class"] for one in self.elsewhere]
        if not each:
            return {}
        return {
            label: {key: fmean(one[label][key] for one in each) for key in ("recall", "precision", "f1", "support")}
            for label in each[0]
        }

    @property
    def parameters(self) -> int | None:
        """How many are trained."""
        found = [run.summary.get("trainable_parameters") for run in self.runs.values() if run.summary is not None]
        return int(found[0]) if found and found[0] is not None else None


@dataclass(frozen=True, slots=True)
class CountResult:
    """Utterances of each label as counted; None where the corpus is not at hand."""

    count: Count
    found: Mapping[str, int] | None
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class TableResult:
    """A table as it stands.

    Parameters
    ----------
    table : Table
    rows : sequence of RowResult
        Those that were asked for, in the table's order.
    counts : sequence of CountResult
    folder : Path
        Where it is written and its runs lie.
    quick : bool
        Whether the runs were cut short, so that no figure means anything.
    """

    table: Table
    rows: Sequence[RowResult]
    counts: Sequence[CountResult]
    folder: Path
    quick: bool

    @property
    def failed(self) -> list[RowResult]:
        """Rows that an error stopped."""
        return [result for result in self.rows if result.failed]

    def comparisons(self) -> dict[str, Comparison]:
        """Every row against the one it names, by its own name; those of one reference share the level of the tests."""
        done = {result.row.name: result for result in self.rows if result.runs}
        pairs: dict[str, list[RowResult]] = {}
        for result in done.values():
            if result.row.against in done:
                pairs.setdefault(result.row.against, []).append(result)
        found: dict[str, Comparison] = {}
        for reference, others in pairs.items():
            sides = [Side(one.row.name, one.runs) for one in (done[reference], *others)]
            try:
                found |= {one.second: one for one in compare(sides)}
            except FedAffectError:
                # No seed in common yet: a row that is still running.
                continue
        return found
