"""The processes of a fleet's server: Flower's SuperLink and the aggregator service, each started anew when it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fedaffect.edge.system.processes import Child
from fedaffect.server.environment import REGISTRY_VARIABLE
from fedaffect.server.fleet.setup.folder import FLEET_VARIABLE, FleetFolder

# A ServerApp's process is started this long after its run was submitted, at most.
_TASK_POLL_S = "0.5"


def children_of(folder: FleetFolder) -> list[Child]:
    """The two processes, with what they need in their environment."""
    environment = {
        FLEET_VARIABLE: str(folder.path),
        REGISTRY_VARIABLE: folder.settings.registry,
        "FLWR_HOME": str(folder.flower_home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _TASK_POLL_S,
        # Flower starts its programs by name.
        "PATH": str(Path(sys.executable).parent) + ":" + os.environ.get("PATH", ""),
    }
    return [
        Child(name, (sys.executable, "-m", module, str(folder.path)), environment, folder.logs / f"{name}.log")
        for name, module in (
            ("superlink", "fedaffect.server.fleet.superlink.program"),
            ("service", "fedaffect.server.fleet.api.serve"),
        )
    ]
