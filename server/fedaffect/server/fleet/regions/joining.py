"""A fleet joins another as a region: it is enrolled there like a device, and its server runs that device's node."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from fedaffect.client.device.enrolling import Capabilities, enroll, leave
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.device.starting import children_of
from fedaffect.edge.errors import ConfigError, at
from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.processes import Child
from fedaffect.server.fleet.runs.root_regions import REGION_RUN
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, runs

_STATE: Final = "state.json"
# What the node said longer ago is of a process that is gone.
_STALE_S: Final = 120.0


def region_of(fleet: FleetFolder) -> DeviceFolder:
    """Where a fleet keeps what it is in its root's: a device's folder."""
    return DeviceFolder(fleet.path / "region")


def join(fleet: FleetFolder, *, root: str, token: str, authority: Path, name: str) -> DeviceSettings:
    """Have a fleet enrolled as a region of another.

    Parameters
    ----------
    fleet : FleetFolder
        The region's.
    root : str
        ``https://HOST:PORT`` of the root's service.
    token : str
        From the root's operator.
    authority : Path
        PEM of the root's authority, from there too.
    name : str
        Of the region.

    Raises
    ------
    ConfigError
        If the root is this fleet itself, or the file of its authority cannot be read.
    RunError, DeviceRefusedError, ServiceAway
        As `fedaffect.client.device.enrolling.enroll`.
    """
    try:
        vouching = authority.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{at(authority)} cannot be read ({error.strerror}); give the root's ca.pem as --ca"
        ) from error
    if vouching == fleet.authority.certificate_path.read_bytes():
        raise ConfigError("--ca is this fleet's own; a region joins another fleet: give the root's ca.pem and address")
    return enroll(
        region_of(fleet),
        server=root,
        token=token,
        authority=authority,
        name=name,
        consent=True,
        capabilities=Capabilities.here(),
        rules=LearningRules(),
        region=True,
    )


def leave_root(fleet: FleetFolder, registry: Registry) -> None:
    """Leave the root, and close its runs here; this fleet and its devices stay as they are."""
    folder = region_of(fleet)
    _ = folder.settings
    leave(folder, reason="the region left")
    (folder.path / _STATE).unlink(missing_ok=True)
    close_parts(registry, "the region left its root")


def close_parts(registry: Registry, why: str) -> None:
    """Close all parts of a root's runs: nobody will ask for them any more."""
    for run in runs.every(registry, "open"):
        if REGION_RUN in run.config:
            runs.cancel(registry, run.id, reason=why, actor="region")


def node_children(fleet: FleetFolder, environment: Mapping[str, str]) -> list[Child]:
    """The processes of a region's node: Flower's SuperNode as devices have it, and what answers orders."""
    _trainer, supernode = children_of(region_of(fleet))
    command = (sys.executable, "-m", "fedaffect.server.fleet.regions.node", str(fleet.path))
    meeting = {**environment, **supernode.environment, "FLWR_HOME": environment["FLWR_HOME"]}
    node = Child("region", command, meeting, fleet.logs / "region.log")
    return [replace(supernode, log=fleet.logs / "supernode.log"), node]


def note_state(fleet: FleetFolder, **facts: Any) -> None:
    """Write down how a region's node does, for ``fleet status``."""
    said = json.dumps({**facts, "at_s": time.time()})
    write_private(region_of(fleet).path / _STATE, said.encode(), replace=True)


def region_state(fleet: FleetFolder) -> dict[str, Any] | None:
    """What a fleet is in its root's, as JSON values; None where it is no region."""
    folder = region_of(fleet)
    if not folder.enrolled:
        return None
    settings, path = folder.settings, folder.path / _STATE
    found: dict[str, Any] = {"name": settings.name, "root": settings.server}
    said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    age_s = time.time() - said.pop("at_s", 0.0)
    if not said or age_s > _STALE_S:
        return {**found, "state": "has no node; start fedaffect fleet up again", "answered": 0, "failed": 0}
    return {**found, **said}
