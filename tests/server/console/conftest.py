"""A fleet whose runs are carried in this process, for pages to watch."""

from tests.support.fleet_runs import a_fleet, fleet_folder, grid, registry

__all__ = ["a_fleet", "fleet_folder", "grid", "registry"]
