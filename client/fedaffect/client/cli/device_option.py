"""Which device's folder a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from fedaffect.client.device.folder import DEVICE_VARIABLE


def device_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--device``: the device's folder, or None for the usual one."""
    option = click.option(
        "--device",
        "device_path",
        type=click.Path(path_type=Path, file_okay=False),
        envvar=DEVICE_VARIABLE,
        help=f"The device's folder; beside its examples if not given (${DEVICE_VARIABLE}).",
    )
    return option(command)
