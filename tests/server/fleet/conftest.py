"""Bundles of the edge runtime's tests, for devices of a fleet; and runs carried in this process."""

from tests.edge.conftest import make_bundle, tiny_bundle
from tests.support.fleet_runs import a_fleet, device_grid, fleet_folder, grid, registry

__all__ = ["a_fleet", "device_grid", "fleet_folder", "grid", "make_bundle", "registry", "tiny_bundle"]
