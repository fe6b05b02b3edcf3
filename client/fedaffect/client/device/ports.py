"""Where a device's SuperNode and trainer meet."""

from __future__ import annotations

import os
import socket
from typing import Final

from fedaffect.edge.errors import ConfigError

# Environment variable: the port at which they do.
RUNTIME_PORT: Final = "FEDAFFECT_RUNTIME_PORT"


def runtime_port() -> int:
    """Where the trainer finds this SuperNode, as `fedaffect device start` says.

    Raises
    ------
    ConfigError
        If it does not say.
    """
    said = os.environ.get(RUNTIME_PORT, "")
    if not said.isdigit():
        raise ConfigError(f"${RUNTIME_PORT} names no port; start the device with fedaffect device start")
    return int(said)


def free_port() -> int:
    """A port of this machine that nobody listens at now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
