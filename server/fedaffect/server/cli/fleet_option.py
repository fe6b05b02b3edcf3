"""Which fleet a command speaks to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.server.environment import FLEET_VARIABLE

if TYPE_CHECKING:
    from fedaffect.server.fleet.api.operator_client import Operator


def fleet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--fleet``: the operator's folder, or None for the usual one."""
    option = click.option(
        "--fleet",
        "fleet_path",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=FLEET_VARIABLE,
        help=f"The fleet's folder; in the server's data folder if not given (${FLEET_VARIABLE}).",
    )
    return option(command)


def operator_of(fleet_path: Path | None) -> Operator:
    """The operator of the fleet in a folder; imported here so that ``--help`` answers at once."""
    from fedaffect.server.fleet.api.operator_client import Operator
    from fedaffect.server.fleet.setup.folder import FleetFolder

    return Operator.of(FleetFolder.open(fleet_path))
