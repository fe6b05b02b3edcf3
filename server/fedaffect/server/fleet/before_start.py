"""What is looked at before a server starts, so that nothing half starts: ports, room, certificate, clock, database."""

from __future__ import annotations

import shutil
import socket
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import ConfigError
from fedaffect.server.fleet.setup.authority import validity
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder
from fedaffect.server.registry import Registry, RegistryUnavailable

# A registry, Flower's database, logs, and the checkpoints of some hundred rounds.
FLEET_MB: Final = 500
_MB: Final = 1_000_000
# From here on a certificate that is about to end is spoken of.
SOON: Final = timedelta(days=30)


def require_ports(folder: FleetFolder) -> None:
    """See that nobody listens where the fleet is about to.

    Raises
    ------
    ConfigError
        Naming the port, and where another is set.
    """
    for name in ("superlink_port", "service_port"):
        require_free("", getattr(folder.settings, name), f"set {name.replace('_', '-')} in {folder.path / SETTINGS}")


def require_free(host: str, port: int, else_do: str) -> None:
    """See that nobody listens at a port.

    Parameters
    ----------
    host : str
        Address that is about to be listened at; empty for all.
    port : int
    else_do : str
        What gives the program another port, for the error.

    Raises
    ------
    ConfigError
    """
    try:
        socket.create_server((host, port)).close()
    except OSError as error:
        raise ConfigError(
            f"port {port} cannot be listened at ({error.strerror}); stop what is there, or {else_do}"
        ) from error


def require_room(folder: Path, megabytes: int, else_do: str) -> None:
    """See that there is room in a folder's file system for what is about to be written.

    Parameters
    ----------
    folder : Path
    megabytes : int
    else_do : str
        What puts it elsewhere, for the error.

    Raises
    ------
    ConfigError
        With how much is needed, where, and how much there is.
    """
    free = shutil.disk_usage(folder).free // _MB
    if free < megabytes:
        raise ConfigError(f"{folder} needs {megabytes} MB of room and has {free}; free some, or {else_do}")


def require_certificate(folder: FleetFolder) -> str | None:
    """See that the fleet's certificate is valid now.

    Returns
    -------
    str or None
        A line for the operator where it ends within 30 days.

    Raises
    ------
    ConfigError
        If it has ended, or this machine's clock stands before it was made.
    """
    begins, ends = validity(folder.certificate_path)
    now = datetime.now(UTC)
    renew = f"fedaffect fleet rotate --certificate --fleet {folder.path}"
    if now < begins:
        raise ConfigError(
            f"this machine's clock says {now:%Y-%m-%d %H:%M}, before the fleet's certificate was made "
            f"({begins:%Y-%m-%d %H:%M}); set it: timedatectl set-ntp true"
        )
    if now >= ends:
        raise ConfigError(f"the fleet's certificate ended on {ends:%Y-%m-%d}, no device trusts it; renew it: {renew}")
    if ends - now < SOON:
        return f"the fleet's certificate ends on {ends:%Y-%m-%d}; renew it: {renew}"
    return None


def require_database(url: str) -> None:
    """Bring the registry's tables to their newest form; a database that is away is waited for later.

    Raises
    ------
    ConfigError
        If a newer version of this program made them.
    """
    with suppress(RegistryUnavailable):
        Registry.open(url).close()
