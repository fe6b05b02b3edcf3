"""Bundles of the edge runtime's tests, for devices of a fleet; and runs carried in this process."""

import pytest
from tests.edge.conftest import make_bundle, tiny_bundle
from tests.support.fleet_runs import a_fleet, device_grid, fleet_folder, grid, registry

from fedaffect.server.fleet.runs import run_runner

__all__ = ["a_fleet", "device_grid", "fleet_folder", "grid", "make_bundle", "registry", "tiny_bundle"]


@pytest.fixture(autouse=True)
def one_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A round of which nothing counts ends the ServerApp at once; a real one asks for hours."""
    monkeypatch.setattr(run_runner, "_ATTEMPTS", 1)
