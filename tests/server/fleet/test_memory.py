"""What a run's process holds does not grow with the rounds that it has carried."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

from tests.support.fleet_runs import Fleet, FleetGrid

ROUNDS = 60
SETTLED = 20


class Counted:
    """Notes after each round how many objects the garbage collector knows, dead ones that it has not found included."""

    def __init__(self) -> None:
        self.objects: list[int] = []

    def started(self, *_: Any) -> None: ...

    def finished(self, *_: Any) -> None: ...

    def round_finished(self, _: Any) -> None:
        self.objects.append(len(gc.get_objects()))


def test_what_rounds_leave_in_cycles_is_collected_while_the_run_goes_on(
    a_fleet: Callable[..., Fleet], grid: FleetGrid
) -> None:
    counted = Counted()
    a_fleet(rounds=ROUNDS, clients_per_round=2).resume(grid, observers=[counted])
    # A round leaves some hundred objects in cycles: messages, sessions of the database.
    assert max(counted.objects[SETTLED:]) - max(counted.objects[:SETTLED]) < 100 * (ROUNDS - SETTLED)
