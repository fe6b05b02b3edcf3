"""The processes of a fleet's server: SuperLink, its gate and the aggregator service; of a region its node too."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.only_one import only_one as one_at_a_time
from fedaffect.edge.system.processes import Child
from fedaffect.server.environment import FLEET_VARIABLE, REGISTRY_VARIABLE
from fedaffect.server.fleet.regions.joining import node_children, region_of
from fedaffect.server.fleet.setup.folder import FleetFolder

# A ServerApp's process is started this long after its run was submitted, at most.
_TASK_POLL_S = "0.5"
_LOOK_S: Final = 0.5


def children_of(folder: FleetFolder) -> list[Child]:
    """The three processes, with what they need in their environment; of a region two more, its node in the root's."""
    environment = {
        FLEET_VARIABLE: str(folder.path),
        REGISTRY_VARIABLE: folder.settings.registry,
        "FLWR_HOME": str(folder.flower_home),
        "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": _TASK_POLL_S,
        # Flower starts its programs by name.
        "PATH": str(Path(sys.executable).parent) + ":" + os.environ.get("PATH", ""),
    }
    own = [
        Child(name, (sys.executable, "-m", module, str(folder.path)), environment, folder.logs / f"{name}.log")
        for name, module in (
            ("superlink", "fedaffect.server.fleet.superlink.program"),
            ("gate", "fedaffect.server.fleet.superlink.gate"),
            ("service", "fedaffect.server.fleet.api.serve"),
        )
    ]
    return own + (node_children(folder, environment) if region_of(folder).enrolled else [])


@contextmanager
def only_one(folder: FleetFolder) -> Iterator[None]:
    """Hold a fleet's folder: a second SuperLink would take over the socket, and the database, of the first.

    Raises
    ------
    RunError
        If another process holds it.
    """
    taken = f"the fleet in {folder.path} is up already; stop its fedaffect fleet up first"
    with one_at_a_time(folder.path / "up.lock", taken):
        yield


def say_when_ready(folder: FleetFolder, say: Callable[[str], None]) -> threading.Thread:
    """Print one line as soon as both processes answer.

    Parameters
    ----------
    folder : FleetFolder
    say : callable
        Gets the line, from a thread.
    """

    def wait() -> None:
        while not _answers(folder):
            time.sleep(_LOOK_S)
        settings = folder.settings
        say(f"ready: devices reach the fleet at https://{settings.hosts[0]}:{settings.service_port}")
        say("next: fedaffect fleet token lets one device in, with fedaffect device enroll --help")

    thread = threading.Thread(target=wait, name="ready", daemon=True)
    thread.start()
    return thread


def _answers(folder: FleetFolder) -> bool:
    """Whether the service answers the operator, and the SuperLink answers the service through its gate."""
    from fedaffect.server.fleet.api.operator_client import Operator

    try:
        with Operator.of(folder) as operator:
            return bool(operator.post("/v1/status")["superlink"] == "answers")
    except (OSError, FedAffectError):
        return False
