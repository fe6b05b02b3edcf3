"""A run of the fleet, carried on by this ServerApp from where the registry says that it stands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flwr.serverapp import Grid

from server.federation import run_federation
from server.run_config import RunConfig
from server.run_folder import RunFolder


def carry(grid: Grid, flower_run_id: int, run_id: str, settings: Mapping[str, Any]) -> None:
    given = dict(settings)
    cohort_folder = given.pop("cohort-folder", None)
    config = RunConfig.from_flwr({"engine": "flower", **given})
    folder = RunFolder.create(config, overwrite=True)
    run_federation(grid, config, Path(str(cohort_folder)), folder, ())
