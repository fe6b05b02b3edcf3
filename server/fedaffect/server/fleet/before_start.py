"""What a fleet's server needs to start: ports, room, certificates, clock, database; looked at before anything does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from fedaffect.edge.system.findings import Finding, room
from fedaffect.server import checks
from fedaffect.server.fleet.setup.folder import SETTINGS, FleetFolder

# A registry, Flower's database, logs, and the checkpoints of some hundred rounds.
_FLEET_MB: Final = 500
_PORTS: Final = {"superlink_port": "the SuperLink", "service_port": "the service"}


def of_ports(folder: FleetFolder) -> Iterator[Finding]:
    """Whether nobody listens where the fleet is about to."""
    for name, what in _PORTS.items():
        mend = f"set {name.replace('_', '-')} in {folder.path / SETTINGS}"
        yield checks.port("", getattr(folder.settings, name), what, mend)


def of_folder(folder: FleetFolder) -> Iterator[Finding]:
    """Of the fleet's disk and its certificates; whether it runs or not."""
    yield room(folder.path, "the fleet", _FLEET_MB, "move the fleet's folder to a larger one")
    renew = f"renew it: fedaffect fleet rotate --certificate --fleet {folder.path}"
    yield checks.certificate(folder.certificate_path, "server certificate", renew)
    enrol_again = "devices trust it alone: make a new fleet, let them enrol there"
    yield checks.certificate(folder.authority.certificate_path, "authority", enrol_again)


def of_fleet(folder: FleetFolder) -> Iterator[Finding]:
    """All that a fleet needs that is about to start.

    Raises
    ------
    ConfigError
        If a newer version of this program made its database's tables.
    """
    yield from of_ports(folder)
    yield from of_folder(folder)
    yield from checks.database_to_start_on(folder.settings.registry)
