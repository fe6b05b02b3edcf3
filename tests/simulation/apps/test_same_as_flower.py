from __future__ import annotations

import time
from typing import Any

import pytest
from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from tests.simulation.grid.conftest import ray_leaves_its_files_open
from tests.support.flower_app import NODES, app, arrays_of, asked

from fedaffect.client.flower_compat.telemetry import quiet_flower_engine
from fedaffect.server.ray_session import quiet_ray
from fedaffect.simulation import run_simulation


def test_the_same_arrays_as_by_flowers_engine(connected: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, with states over two rounds, where a worker has one CPU in both."""
    from flwr.simulation import run_simulation as flowers

    # It adds to it.
    monkeypatch.setenv("PYTHONPATH", "")
    seen: list[dict[int, Any]] = []

    def server() -> ServerApp:
        made = ServerApp()

        @made.main()
        def main(grid: Grid, context: Context) -> None:
            while len(nodes := list(grid.get_node_ids())) < NODES:
                time.sleep(0.1)
            for _ in range(2):
                replies = list(grid.send_and_receive(asked(nodes=nodes), timeout=300))
                assert len(replies) == NODES
            where = grid.send_and_receive(asked("query", nodes=nodes), timeout=300)
            partition = {r.metadata.src_node_id: r.content["metrics"]["partition-id"] for r in where}
            seen.append({partition[node]: arrays for node, arrays in arrays_of(replies).items()})

        return made

    backend = {"client_resources": {"num_cpus": 1, "num_gpus": 0.0}}
    run_simulation(server(), app, NODES, backend_config=backend)
    with ray_leaves_its_files_open(), quiet_flower_engine(), quiet_ray():
        flowers(server(), app, NODES, backend_config=backend)
    assert len(seen[0]) == NODES
    assert seen[0] == seen[1]
