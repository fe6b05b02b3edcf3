"""Which device's folder a command means."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fedaffect.client.device.folder import DEVICE_VARIABLE

if TYPE_CHECKING:
    from fedaffect.client.device.folder import DeviceFolder


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


def opened(path: Path | None) -> DeviceFolder:
    """The device's folder; says so where its fleet has revoked it."""
    from fedaffect.client.device.folder import DeviceFolder

    folder = DeviceFolder.open(path)
    if folder.revoked_path.exists():
        click.echo(f"note: {folder.revoked_path.read_text(encoding='utf-8')}", err=True)
    return folder
