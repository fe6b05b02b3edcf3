"""Over-selection and deadlines: more clients are asked than are needed, and who is late does not count."""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedaffect.server.federation.asynchronous.pace import Pace, wait_for
from fedaffect.server.federation.selection import choose_clients


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """What becomes of everybody whom a round asks, known beforehand in simulated time.

    Parameters
    ----------
    counted : tuple of int
        Who is in time and needed, ascending.
    late : tuple of int
        Who would have come after the deadline, or after enough others had.
    lost : tuple of int
        Who dropped out.
    began_s, ends_s : float
        Simulated seconds since the run began.
    """

    counted: tuple[int, ...]
    late: tuple[int, ...]
    lost: tuple[int, ...]
    began_s: float
    ends_s: float

    def to_dict(self) -> dict[str, float]:
        """What a round's line says about it."""
        numbers = {"asked": len(self.counted) + len(self.late) + len(self.lost), "late": len(self.late)}
        return {"began_s": self.began_s, "ends_s": self.ends_s, **numbers, "lost": len(self.lost)}


def asked(wanted: int, over_selection: float, there: int) -> int:
    """How many to ask so that enough answer: ``ceil(over_selection * wanted)``, of those there are.

    Bonawitz et al., "Towards Federated Learning at Scale" (2019), section 3, ask 1.3 times as many as they need.
    """
    return min(there, math.ceil(round(over_selection * wanted, 9)))


def plan_round(
    pace: Pace,
    *,
    wanted: int,
    over_selection: float,
    deadline_s: float,
    seed: int,
    number: int,
    at_s: float,
) -> RoundPlan:
    """Who of a round's clients counts.

    The round ends when enough have come, and at the deadline at the latest. It begins once enough clients are online
    to be asked.

    Parameters
    ----------
    pace : Pace
    wanted : int
        Clients that a round needs.
    over_selection : float
        1 or more.
    deadline_s : float
        After the round's beginning.
    seed, number : int
        Decide with the trace who is asked.
    at_s : float
        When the round before ended.
    """
    began_s, there = wait_for(pace, wanted, at_s)
    chosen = [
        int(there[k]) for k in choose_clients(len(there), asked(wanted, over_selection, len(there)), seed, number)
    ]
    trips = {client: pace.trip(client, number, began_s) for client in chosen}
    lost = tuple(client for client in chosen if not trips[client].arrives)
    order = sorted((trips[client].seconds, client) for client in chosen if trips[client].arrives)
    counted = [(seconds, client) for seconds, client in order if seconds <= deadline_s][:wanted]
    # Short of clients, the server waits: it cannot know that nobody else will come.
    lasts_s = counted[-1][0] if len(counted) == wanted else deadline_s
    if len(counted) == len(chosen):
        lasts_s = counted[-1][0]
    taken = {client for _, client in counted}
    late = tuple(sorted(client for _, client in order if client not in taken))
    return RoundPlan(tuple(sorted(taken)), late, lost, began_s, began_s + lasts_s)
