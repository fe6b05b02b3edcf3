"""A whole fleet on this machine: its server and its devices, each a `Machine` that types what people type."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import FedAffectError
from fedaffect.server.demo.machines import Machine, free_ports, wait_until
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder

_COMMITTED: Final = re.compile(r"(\d+) of \d+ rounds")


class LocalFleet:
    """Comes up, takes devices in, and has them learn.

    Parameters
    ----------
    folder : Path
        Where all machines live.
    bundle : Bundle
        What devices begin with; the fleet signs it with a key of its own.
    """

    def __init__(self, folder: Path, bundle: Bundle) -> None:
        self._folder, self._bundle = folder, bundle
        self.server = Machine(folder / "server")
        self.devices: dict[str, Machine] = {}
        self.base = ""

    @property
    def folder(self) -> FleetFolder:
        """The operator's."""
        return FleetFolder.open(self.server.folder / "fleet")

    def bring_up(self) -> None:
        """Make the fleet, and start its server.

        Raises
        ------
        RunError
            If it does not come up.
        """
        superlink, service = free_ports(2)
        fleet = ("--fleet", str(self.server.folder / "fleet"))
        ports = ("--superlink-port", str(superlink), "--service-port", str(service))
        self.server.types("fleet", "init", *fleet, *ports)
        shutil.copytree(self._bundle.path, self._base_folder)
        self.server.types("bundle", "sign", str(self._base_folder))
        self.server.types("bundle", "install", str(self._base_folder))
        self.base = self.server.version or ""
        self.server.runs("fleet up", "fleet", "up", *fleet)
        self.wait_until(lambda: self.status().get("superlink") == "answers", "the fleet's server")

    def join(self, name: str) -> Machine:
        """Let a device in that learns without noise, give it the bundle, and start it."""
        machine = self.devices[name] = Machine(self._folder / name)
        fleet = self.folder
        device = ("--device", str(machine.folder / "device"))
        token = self.server.types("fleet", "token", "--fleet", str(fleet.path)).strip()
        machine.types(
            *("device", "enroll", *device, "--name", name, "--consent", "--server", fleet.service),
            *("--token", token, "--ca", str(fleet.authority.certificate_path)),
        )
        machine.types("device", "budget", *device, "--any")
        machine.types("bundle", "install", str(self._base_folder))
        machine.runs("device", "device", "start", *device)
        return machine

    def learn(self, run: str, rounds: int, settings: Sequence[str]) -> Iterator[int]:
        """Have the devices learn without noise; how many rounds are committed, whenever that changes.

        Parameters
        ----------
        run : str
            Its name.
        rounds : int
        settings : sequence of str
            More of them, each ``name=value``.

        Raises
        ------
        RunError
            If the run fails, or not all devices are online.
        """
        self.wait_until(
            lambda: sum(device["online"] for device in self.status().get("devices", ())) == len(self.devices),
            "every device",
        )
        named = ("fleet", "run", "--fleet", str(self.folder.path), "--name", run, "--rounds", str(rounds), "--wait")
        more = [argument for pair in ("dp=none", *settings) for argument in ("--set", pair)]
        for line in self.server.types_and_reads(*named, *more):
            if (committed := _COMMITTED.match(line)) is not None:
                yield int(committed[1])

    def status(self) -> dict[str, Any]:
        """What ``fedaffect fleet status`` shows; nothing while the service does not answer."""
        try:
            with Operator.of(self.folder) as operator:
                return operator.post("/v1/status")
        except FedAffectError:
            return {}

    def all_updated(self) -> bool:
        """Whether every device uses another bundle than it began with."""
        return all(machine.version not in (None, self.base) for machine in self.devices.values())

    def wait_until(self, there: Any, what: str) -> None:
        """As `machines.wait_until`, and see meanwhile that all machines run."""
        wait_until(there, what, self._require_running)

    def stop(self) -> None:
        """End all processes."""
        for machine in (*self.devices.values(), self.server):
            machine.stop()

    @property
    def _base_folder(self) -> Path:
        return self.server.folder / "base"

    def _require_running(self) -> None:
        for machine in (self.server, *self.devices.values()):
            machine.require_running()
