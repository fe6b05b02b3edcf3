"""Flower's SuperLink as the fleet runs it: its own app, at a Unix socket that only the fleet's user can open.

Only requests that the gate let through reach it: `fedaffect.server.fleet.superlink.gate`.

Run as ``python -m fedaffect.server.fleet.superlink.program FLEET_FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

import uvicorn

from fedaffect.edge.system.processes import end_with_parent
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.setup.private_socket import private_socket
from fedaffect.server.flower_compat.superlink import superlink_app, superlink_log_config

# Above the time after which the gate closes a connection that it does not use: neither may find the other gone.
_KEEP_ALIVE_S: Final = 300
_LAST_ANSWERS_S: Final = 2


def run(folder: FleetFolder) -> None:
    """Run the SuperLink until it is told to stop."""
    config = uvicorn.Config(
        superlink_app(arguments_of(folder)),
        access_log=False,
        ws="none",
        proxy_headers=False,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=_LAST_ANSWERS_S,
        log_config=superlink_log_config(),
    )
    with private_socket(folder.superlink_socket) as listener:
        uvicorn.Server(config).run(sockets=[listener])


def arguments_of(folder: FleetFolder) -> list[str]:
    """What ``flower-superlink`` is told; the address is the gate's, where Flower's own programs reach it."""
    settings = folder.settings
    return [
        *("--host", settings.listen),
        *("--port", str(settings.superlink_port)),
        *("--ssl-certfile", str(folder.certificate_path)),
        *("--ssl-keyfile", str(folder.key_path)),
        *("--ssl-ca-certfile", str(folder.authority.certificate_path)),
        *("--database", str(folder.path / "superlink.db")),
        "--enable-supernode-auth",
        "--disable-runtime-dependency-installation",
    ]


if __name__ == "__main__":
    end_with_parent()
    run(FleetFolder.open(Path(sys.argv[1])))
