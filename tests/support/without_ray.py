"""Simulations whose clients train in this process, for tests that ask something else than Ray of a run.

Each run starts actors of its own, which takes seconds. That both give the same arrays is asked in
``tests/simulation/grid``.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from flwr.app import Context, Message
from tests.support.in_process_grid import InProcessGrid

from fedaffect.client.cohort import Cohort
from fedaffect.simulation import engines


class _ClientsHere(InProcessGrid):
    """Clients that are given the objects of the run, as Flower's actors are."""

    def reply(self, partition: int, message: Message, context: Context) -> Message:
        return engines._client_app()(message, context)


def _run_here(simulation: engines.Simulation) -> dict[str, Any]:
    torch.set_num_threads(1)
    return simulation.over(_ClientsHere(Cohort.load(simulation.cohort_folder).num_clients))


def train_in_this_process(patch: pytest.MonkeyPatch) -> None:
    """Have ``--engine ray`` start nothing until the patch is undone."""
    patch.setattr(engines, "ENGINES", {**engines.ENGINES, "ray": _run_here})
    for module in ("fedaffect.server.ray_session", "fedaffect.simulation.reproducing.running"):
        patch.setattr(f"{module}.ray_session", lambda *_, **__: nullcontext(False))
