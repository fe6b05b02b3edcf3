"""The guard: what a run costs people whom nobody learned from, on public data that the server has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from fedaffect.client.task import ClientTask
from fedaffect.edge.errors import RunError
from fedaffect.server.federation.evaluation import evaluate_split

# Splits of public data by which a run steps back; all others judge it.
CHOOSING: Final = "choosing."


class LostTooMuch(RunError):
    """A run made somebody worse, by more than its settings allow."""


@dataclass(frozen=True, slots=True)
class Guard:
    """Measures parameters on the guard's corpora.

    Parameters
    ----------
    task : ClientTask, optional
        Of a cohort that has a split for each of them; None where there is no guard.
    allowed : float
        Points of UAR that may be lost on each.
    """

    task: ClientTask | None
    allowed: float

    def measured(self, before: Tensor, after: Tensor, kept_share: float | None = None) -> dict[str, Any]:
        """What a summary says of the guard, under ``guard``; nothing where there is none.

        Parameters
        ----------
        before, after : Tensor of float32, shape (P,)
            Parameters that the run began with, and those of its best round.
        kept_share : float, optional
            Of the way between a start and the last round's parameters, if ``after`` lies on it.
        """
        if self.task is None:
            return {}
        corpora = {}
        judging = {name: rows for name, rows in self.task.cohort.splits.items() if not name.startswith(CHOOSING)}
        for name, rows in judging.items():
            was, now = (evaluate_split(self.task, weights, name).figures["uar"] for weights in (before, after))
            corpora[name] = {"examples": len(rows), "before": was, "after": now, "lost_points": 100 * (was - now)}
        if not corpora:
            return {}
        return {"guard": {"allowed_points": self.allowed, "kept_share": kept_share, "corpora": corpora}}


def require_kept(run: str, summary: Mapping[str, Any]) -> None:
    """Refuse a run that lost more on its guard than it may.

    Parameters
    ----------
    run : str
        Its name.
    summary : mapping
        As in ``summary.json``.

    Raises
    ------
    LostTooMuch
        Naming the corpus that lost most.
    """
    guard = summary.get("guard")
    if not guard:
        return
    name, worst = max(guard["corpora"].items(), key=lambda one: float(one[1]["lost_points"]))
    if worst["lost_points"] > guard["allowed_points"]:
        raise LostTooMuch(
            f"run {run} loses {worst['lost_points']:.1f} points on {name} ({worst['before']:.3f} to "
            f"{worst['after']:.3f}), and --guard-loss allows {guard['allowed_points']:g}; give --replay more"
        )


def guard_figures(summary: Mapping[str, Any]) -> dict[str, list[float]]:
    """UAR before and after by corpus, as lineages keep them; nothing where there was no guard."""
    corpora: Mapping[str, Any] = summary.get("guard", {}).get("corpora", {})
    return {name: [round(float(one[when]), 4) for when in ("before", "after")] for name, one in corpora.items()}
