"""Who takes part in a round: clients of a cohort, drawn; devices that are there; or those whom a trace lets come."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from flwr.app import ConfigRecord

from fedaffect.server.federation.asynchronous.pace import Pace
from fedaffect.server.federation.grid import Nodes
from fedaffect.server.federation.robustness.deadline import RoundPlan, asked, plan_round
from fedaffect.server.federation.selection import choose_clients


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who takes part in a round.

    Parameters
    ----------
    clients : tuple of int
        Partition ids of those who are asked, ascending.
    plan : RoundPlan, optional
        What becomes of everybody, where time is simulated.
    """

    clients: tuple[int, ...]
    plan: RoundPlan | None = None


class Participants(Protocol):
    """Chooses the clients of each round."""

    @property
    def timeout_s(self) -> float:
        """How long their replies are waited for."""

    def choose(self, number: int, records: Sequence[Mapping[str, Any]]) -> Chosen:
        """Who takes part in a round, given the lines of all rounds before it."""

    def everybody(self) -> Sequence[int]:
        """All who could be asked now."""


class DevicePool(Protocol):
    """The devices of a fleet that can be asked now.

    Attributes
    ----------
    nodes : Nodes
        Who can be reached; changed in place by :meth:`gather`.
    """

    nodes: Nodes

    def gather(self, question: ConfigRecord | None = None) -> Sequence[int]:
        """Partitions of the devices that may be asked now, ascending.

        Parameters
        ----------
        question : ConfigRecord, optional
            The settings of a train request, for a pool that asks devices whether they would answer it.
        """


@dataclass(frozen=True, slots=True)
class CohortClients:
    """All clients of a cohort are there; a round's are drawn by the run's seed, or by its privacy.

    Parameters
    ----------
    known : int
        K, clients of the cohort.
    wanted : int
        How many a round needs.
    over_selection : float
        How many times as many are asked.
    seed : int
    timeout_s : float
    sampling : callable, optional
        Draws the clients of a round instead.
    """

    known: int
    wanted: int
    over_selection: float
    seed: int
    timeout_s: float
    sampling: Callable[[int], tuple[int, ...]] | None = None

    def choose(self, number: int, records: Sequence[Mapping[str, Any]]) -> Chosen:
        """Drawn without replacement, unless privacy samples."""
        if self.sampling is not None:
            return Chosen(self.sampling(number))
        size = asked(self.wanted, self.over_selection, self.known)
        return Chosen(choose_clients(self.known, size, self.seed, number))

    def everybody(self) -> Sequence[int]:
        """The whole cohort."""
        return range(self.known)


@dataclass(frozen=True, slots=True)
class PoolDevices:
    """Devices that can be asked when a round begins.

    Parameters
    ----------
    pool : DevicePool
    wanted, over_selection, seed, timeout_s
        As of :class:`CohortClients`.
    question : callable
        Gives the settings of a train request.
    """

    pool: DevicePool
    wanted: int
    over_selection: float
    seed: int
    timeout_s: float
    question: Callable[[], ConfigRecord]

    def choose(self, number: int, records: Sequence[Mapping[str, Any]]) -> Chosen:
        """Drawn without replacement from those that are there."""
        present = self.pool.gather(self.question())
        size = asked(self.wanted, self.over_selection, len(present))
        return Chosen(tuple(present[place] for place in choose_clients(len(present), size, self.seed, number)))

    def everybody(self) -> Sequence[int]:
        """Those that are there."""
        return self.pool.gather()


@dataclass(frozen=True, slots=True)
class PacedClients:
    """Clients of a trace, in simulated time: who comes before the deadline is known beforehand.

    Parameters
    ----------
    pace : Pace
    known, wanted, over_selection, seed, timeout_s
        As of :class:`CohortClients`.
    deadline_s : float
        In simulated time, after a round's beginning.
    """

    pace: Pace
    known: int
    wanted: int
    over_selection: float
    deadline_s: float
    seed: int
    timeout_s: float

    def choose(self, number: int, records: Sequence[Mapping[str, Any]]) -> Chosen:
        """Those who count; the others are in the plan."""
        before = records[-1].get("simulated") if records else None
        plan = plan_round(
            self.pace,
            wanted=self.wanted,
            over_selection=self.over_selection,
            deadline_s=self.deadline_s,
            seed=self.seed,
            number=number,
            at_s=float(before["ends_s"]) if before else 0.0,
        )
        return Chosen(plan.counted, plan)

    def everybody(self) -> Sequence[int]:
        """The whole cohort."""
        return range(self.known)
