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

_SERVER, _FLEET, _BASE = "server", "fleet", "base"
_COMMITTED: Final = re.compile(r"(\d+) of \d+ rounds")


class LocalFleet:
    """Comes up, takes devices in, and has them learn.

    Parameters
    ----------
    folder : Path
        Where all machines live.
    bundle : Bundle
        What devices begin with; the fleet signs it with a key of its own.
    registry : str, optional
        URL of its database; a file in the fleet's folder if not given.
    """

    def __init__(self, folder: Path, bundle: Bundle, registry: str | None = None) -> None:
        self._folder, self._bundle, self._registry = folder, bundle, registry
        self.server = Machine(folder / _SERVER)
        self.devices: dict[str, Machine] = {}
        # Those that have to run, beside the fleet's.
        self.machines: list[Machine] = []
        self.base = ""

    @classmethod
    def made_in(cls, folder: Path) -> FleetFolder | None:
        """The fleet that was made there before, whole."""
        server = folder / _SERVER
        return FleetFolder.open(server / _FLEET) if (server / _BASE).exists() else None

    @property
    def folder(self) -> FleetFolder:
        """The operator's."""
        return FleetFolder.open(self.server.folder / _FLEET)

    def make(self) -> None:
        """Make the fleet where it is not there, with the bundle that its devices begin with.

        Raises
        ------
        RunError
            If it cannot be made.
        """
        fleet = self.server.folder / _FLEET
        if not self._base_folder.exists():
            shutil.rmtree(fleet, ignore_errors=True)
            superlink, service = free_ports(2)
            ports = ("--superlink-port", str(superlink), "--service-port", str(service))
            registry = ("--registry", self._registry) if self._registry else ()
            self.server.types("fleet", "init", "--fleet", str(fleet), *ports, *registry)
            unsigned = self.server.folder / "unsigned"
            shutil.rmtree(unsigned, ignore_errors=True)
            shutil.copytree(self._bundle.path, unsigned)
            self.server.types("bundle", "sign", str(unsigned))
            self.server.types("bundle", "install", str(unsigned))
            # Last: what is there was made to its end.
            unsigned.rename(self._base_folder)
        self.base = self.server.version or ""

    def bring_up(self) -> None:
        """Start the fleet's server, and make the fleet before where it is not there.

        Raises
        ------
        RunError
            If it does not come up.
        """
        self.make()
        self.server.runs("fleet up", "fleet", "up", "--fleet", str(self.folder.path))
        self.wait_until(lambda: self.status().get("superlink") == "answers", "the fleet's server")

    def join(self, name: str) -> Machine:
        """Start a device that learns without noise, let in and given the bundle where it was not before."""
        machine = self.devices[name] = Machine(self._folder / name)
        fleet = self.folder
        device = ("--device", str(machine.folder / "device"))
        if machine.version is not None:
            machine.runs("device", "device", "start", *device)
            return machine
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
        wait_until(there, what, self.require_running)

    def stop(self) -> None:
        """End all processes."""
        for machine in (*self.devices.values(), self.server):
            machine.stop()

    def require_running(self) -> None:
        """See that nothing of it has ended.

        Raises
        ------
        RunError
            With the last words of what has.
        """
        for machine in (self.server, *self.devices.values(), *self.machines):
            machine.require_running()

    @property
    def _base_folder(self) -> Path:
        return self.server.folder / _BASE
