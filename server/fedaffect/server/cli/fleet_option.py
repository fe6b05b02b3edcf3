"""Which fleet a command speaks to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fedaffect.server.fleet.setup.folder import FLEET_VARIABLE


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
