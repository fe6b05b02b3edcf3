"""Two settings side by side: differences over seeds and over samples, and what to make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedaffect.client.figures import FIGURES
from fedaffect.edge.errors import RunError
from fedaffect.server.federation.run_folder import CONFIG
from fedaffect.simulation.comparison.samples import Interval, McNemar, bootstrap, mcnemar_exact
from fedaffect.simulation.comparison.seeds import PairedSeeds, paired_seeds
from fedaffect.simulation.recorded_run import SWEEP, Predictions, RecordedRun, recorded_runs

_LEAST_OWNERS = 10


@dataclass(frozen=True, slots=True)
class Side:
    """Runs of one setting, one a seed.

    Parameters
    ----------
    name : str
        As the table says it.
    runs : mapping of int to RecordedRun
        By seed; all are finished and have a test split.
    """

    name: str
    runs: Mapping[int, RecordedRun]

    def figure(self, seed: int, key: str) -> float:
        """A figure of the test split."""
        summary = self.runs[seed].summary or {}
        return float(summary["test"][key])


@dataclass(frozen=True, slots=True)
class SampleTests:
    """Tests on the samples that both sides answered.

    Parameters
    ----------
    samples : int
        How many.
    uar, accuracy : Interval
        Differences, second minus first; samples are drawn.
    uar_by_owner : Interval, optional
        The same, where whole speakers, actors or videos are drawn; None where there are fewer than ten.
    mcnemar : mapping of int to McNemar
        Of each seed.
    """

    samples: int
    uar: Interval
    accuracy: Interval
    uar_by_owner: Interval | None
    mcnemar: Mapping[int, McNemar]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The second side against the first.

    Parameters
    ----------
    first, second : str
        Their names.
    alpha : float
        Level of the tests: 0.05 divided by the number of comparisons made at once (Bonferroni).
    seeds : mapping of str to PairedSeeds
        Differences by figure, over seeds that both ran.
    samples : SampleTests, optional
        None where predictions are missing or are of other samples.
    """

    first: str
    second: str
    alpha: float
    seeds: Mapping[str, PairedSeeds]
    samples: SampleTests | None

    @property
    def could_be_chance(self) -> bool:
        """Whether any test that could be made leaves chance as an explanation."""
        seeds = self.seeds["uar"]
        by_seed = [seeds.t_p < self.alpha] if seeds.t_p is not None else []
        by_sample = []
        if self.samples is not None:
            by_sample = [(self.samples.uar_by_owner or self.samples.uar).excludes_zero]
        return not all([*by_seed, *by_sample]) or not (by_seed or by_sample)

    def verdict(self) -> str:
        """What to make of it, in plain words."""
        difference = self.seeds["uar"].mean
        gap = f"{abs(difference):.3f} of UAR"
        if difference == 0:
            return f"{self.second} and {self.first} have the same UAR"
        which = f"{self.second} is {'better' if difference > 0 else 'worse'} than {self.first} by {gap}"
        n = len(self.seeds["uar"].seeds)
        if n < 2 and self.samples is None:
            return f"{which}; one seed and no shared samples cannot say whether that is chance: run more --seeds"
        if self.could_be_chance:
            return f"{which}; that could be chance{self._why()}"
        hint = "" if n > 1 else ", of this one seed: run more --seeds to know about others"
        return f"{which}; chance alone would hardly do that{self._why()}{hint}"

    def to_json(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            **asdict(self),
            "could_be_chance": self.could_be_chance,
            "verdict": self.verdict(),
        }

    def _why(self) -> str:
        reasons = []
        seeds = self.seeds["uar"]
        if seeds.t_p is not None:
            reasons.append(f"paired t over {len(seeds.seeds)} seeds p = {shown_p(seeds.t_p)}")
        if self.samples is not None:
            interval = self.samples.uar_by_owner or self.samples.uar
            drawn = "owners" if self.samples.uar_by_owner else "samples"
            reasons.append(
                f"{100 * interval.level:.3g} % interval over {drawn} {interval.low:+.3f} to {interval.high:+.3f}"
            )
        return f" ({'; '.join(reasons)})" if reasons else ""


def compare(sides: Sequence[Side]) -> list[Comparison]:
    """Every further side against the first.

    Parameters
    ----------
    sides : sequence of Side
        At least two.

    Raises
    ------
    RunError
        If there are fewer, or two sides have no seed in common.
    """
    if len(sides) < 2:
        raise RunError("there is nothing to compare with; name two runs, or a sweep of several settings")
    alpha = 0.05 / (len(sides) - 1)
    return [_compare_two(sides[0], side, alpha) for side in sides[1:]]


def sides_of(folder: Path) -> list[Side]:
    """What a folder has to compare: a run, or a sweep's settings each with its seeds.

    Raises
    ------
    RunError
        If it is neither, or nothing in it is finished.
    """
    if (folder / CONFIG).is_file():
        run = RecordedRun.read(folder)
        if run.summary is None or not run.summary.get("test"):
            raise RunError(f"{folder} has no test figures; finish it with fedaffect simulate --resume {folder}")
        return [Side(run.name, {run.config.federation.seed: run})]
    if not (folder / SWEEP).is_file():
        raise RunError(f"{folder} is neither a run nor a sweep; see fedaffect runs list")
    groups: dict[str, dict[int, RecordedRun]] = {}
    for run in recorded_runs(folder):
        if run.summary is not None and run.summary.get("test"):
            setting = run.name.rpartition("seed=")[0].rstrip(",")
            groups.setdefault(setting, {})[run.config.federation.seed] = run
    if not groups:
        raise RunError(f"no run of the sweep {folder} is finished; run it again, finished ones are skipped")
    return [Side(setting or folder.resolve().name, runs) for setting, runs in groups.items()]


def shown_p(p: float) -> str:
    """A p-value in few characters."""
    return f"{p:.3f}" if p >= 0.001 else "< 0.001"


def _compare_two(first: Side, second: Side, alpha: float) -> Comparison:
    one, other = (next(iter(side.runs.values())).config for side in (first, second))
    if (one.data.dataset, one.data.labels) != (other.data.dataset, other.data.labels):
        raise RunError(
            f"{first.name} is about {one.data.dataset} with {one.data.labels} and {second.name} about "
            f"{other.data.dataset} with {other.data.labels}; compare runs of one corpus and label set"
        )
    shared = sorted(set(first.runs) & set(second.runs))
    if not shared:
        if len(first.runs) == len(second.runs) == 1:
            raise RunError(
                f"{first.name} and {second.name} ran with different seeds, {next(iter(first.runs))} and "
                f"{next(iter(second.runs))}; differences are paired by seed, so run one of them again with --seed"
            )
        raise RunError(f"{first.name} and {second.name} share no seed; differences are paired by seed")
    seeds = {
        key: paired_seeds(shared, [first.figure(s, key) for s in shared], [second.figure(s, key) for s in shared])
        for key in FIGURES
    }
    return Comparison(first.name, second.name, alpha, seeds, _on_samples(first, second, shared, alpha))


def _on_samples(first: Side, second: Side, seeds: Sequence[int], alpha: float) -> SampleTests | None:
    """Tests over samples, where all runs answered the very same ones."""
    pairs: list[tuple[Predictions, Predictions]] = []
    for seed in seeds:
        a, b = first.runs[seed].predictions, second.runs[seed].predictions
        if a is None or b is None or not a.matches(b) or (pairs and not pairs[0][0].matches(a)):
            return None
        pairs.append((a, b))
    labels, owners = pairs[0][0].labels, pairs[0][0].owners
    one, other = (np.stack([pair[side].predicted for pair in pairs]) for side in (0, 1))
    uar, accuracy = bootstrap(labels, one, other, level=1 - alpha)
    by_owner = None
    if len(np.unique(owners)) >= _LEAST_OWNERS:
        by_owner, _ = bootstrap(labels, one, other, level=1 - alpha, owners=owners)
    mcnemar = {
        seed: mcnemar_exact(a.predicted == labels, b.predicted == labels)
        for seed, (a, b) in zip(seeds, pairs, strict=True)
    }
    return SampleTests(len(labels), uar, accuracy, by_owner, mcnemar)
