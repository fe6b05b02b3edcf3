"""All of it on one machine: the inference server with its page, a fleet's server, and devices that learn with it."""

from __future__ import annotations

import json
import os
import secrets
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.findings import Finding, require, room
from fedaffect.edge.system.folders import data_folder
from fedaffect.edge.system.only_one import is_held, only_one
from fedaffect.server import checks
from fedaffect.server.demo.local_fleet import LocalFleet
from fedaffect.server.demo.machines import Machine, free_ports
from fedaffect.server.demo.observing import Target, grafana, grafana_here, prometheus
from fedaffect.server.demo.system_database import SystemDatabase
from fedaffect.server.fleet.before_start import of_folder, of_ports

_LOOK_S: Final = 0.5
_STOP_S: Final = 60.0
_OPERATOR: Final = "operator"
# 216 MB when it is new, 256 MB of figures at most; and as much again.
_NEEDED_MB: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a system is to be.

    Parameters
    ----------
    devices : int
        How many; without any there is no fleet either.
    rest_port, grpc_port : int
        Of the inference server.
    runs : Path
        Run folders of simulations that the page shows.
    database : str, optional
        ``sqlite`` or ``postgresql``; what the system began with if not given; the first time, PostgreSQL where
        it is installed.
    """

    devices: int
    rest_port: int
    grpc_port: int
    runs: Path
    database: str | None = None


class LocalSystem:
    """The processes of a whole system, in one folder; they go on where they were when it comes up again.

    Parameters
    ----------
    folder : Path
        Holds everything that they write.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._over = threading.Event()

    @classmethod
    def default_folder(cls) -> Path:
        """``system`` in the server's data folder."""
        return data_folder() / "system"

    @property
    def is_up(self) -> bool:
        """Whether a process runs it, and all of it has answered."""
        return is_held(self._lock) and self._state.exists()

    @property
    def state(self) -> dict[str, Any]:
        """Of the system that is up: its process, addresses, folders, devices and database.

        Raises
        ------
        RunError
            If none is up.
        """
        if not self.is_up:
            raise RunError(f"no system is up in {self.folder}; start it with fedaffect up")
        found: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return found

    def run(self, bundle: Bundle, wanted: Wanted, say: Callable[[str], None]) -> None:
        """Bring everything up, say where it is, and stay until :meth:`stop`; a process that ends, ends all.

        Parameters
        ----------
        bundle : Bundle
            What the devices begin with.
        wanted : Wanted
        say : callable
            Gets lines for a person.

        Raises
        ------
        ConfigError
            If somebody listens at a port, the disk is nearly full, the fleet's certificate is not valid now, or the
            database is another version's; nothing has been started then.
        RunError
            If a system is up in that folder, or one of the processes ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_one(self._lock, f"a system is up in {self.folder} already; fedaffect down ends it"):
            self._state.unlink(missing_ok=True)
            for warning in require(self._needs(wanted)):
                say(warning)
            began = time.monotonic()
            database = SystemDatabase(self.folder, wanted.database, say)
            fleet = LocalFleet(self.folder, bundle, database.url)
            server, beside = Machine(self.folder / "inference"), Machine(self.folder / "observing")
            # Models and the bundle for browsers are this user's.
            del server.environment["FEDAFFECT_CACHE"]
            try:
                database.bring_up(say)
                say("starting the inference server")
                if wanted.devices:
                    fleet.make()
                self._make_account(server, database.url)
                server.runs("server", *self._serving(wanted, database.url, fleet if wanted.devices else None))
                page = f"http://127.0.0.1:{wanted.rest_port}/"
                if wanted.devices:
                    say("starting a fleet: SuperLink, gate and service")
                    fleet.bring_up()
                    for k in range(wanted.devices):
                        say(f"starting device {k + 1} of {wanted.devices}")
                        fleet.join(f"device-{k + 1}")
                figures, boards = self._watch(beside, wanted, fleet if wanted.devices else None, say)
                fleet.machines += (server, beside, database.machine)
                for url, what in (
                    (f"{page}readyz", "the inference server"),
                    (f"{figures}-/ready" if figures else "", "Prometheus"),
                    (f"{boards}api/health" if boards else "", "Grafana"),
                ):
                    fleet.wait_until(lambda url=url: self._over.is_set() or not url or _answers(url), what)
                state = {
                    "pid": os.getpid(),
                    "page": page,
                    "rest": f"{page}v1/predict",
                    "grpc": f"127.0.0.1:{wanted.grpc_port}",
                    "fleet": str(fleet.folder.path) if wanted.devices else None,
                    "devices": wanted.devices,
                    "database": database.kind,
                    "prometheus": figures,
                    "grafana": boards,
                    "account": _OPERATOR,
                    "password_file": str(self.password_file),
                }
                write_private(self._state, (json.dumps(state) + "\n").encode())
                say(f"ready after {time.monotonic() - began:.0f} s")
                while not self._over.wait(_LOOK_S):
                    fleet.require_running()
            finally:
                self._state.unlink(missing_ok=True)
                beside.stop()
                fleet.stop()
                server.stop()
                database.machine.stop()

    def stop(self) -> None:
        """Have :meth:`run` end; may be called from a signal handler or another thread."""
        self._over.set()

    def end(self) -> None:
        """End the system that another process runs, and wait until all of it is gone.

        Raises
        ------
        RunError
            If none is up, or it does not end.
        """
        process = os.pidfd_open(self.state["pid"])
        try:
            signal.pidfd_send_signal(process, signal.SIGTERM)
            ended, _, _ = select.select((process,), (), (), _STOP_S)
        finally:
            os.close(process)
        if not ended:
            raise RunError(f"the system in {self.folder} has not ended after {_STOP_S:.0f} s; see its logs there")

    @property
    def password_file(self) -> Path:
        """The password of the account ``operator``, for this user's eyes."""
        return self.folder / "operator-password.txt"

    @property
    def _lock(self) -> Path:
        return self.folder / "up.lock"

    @property
    def _state(self) -> Path:
        return self.folder / "up.json"

    def _make_account(self, server: Machine, database: str) -> None:
        if self.password_file.exists():
            return
        password = secrets.token_urlsafe(12)
        added = ("server", "users", "add", _OPERATOR, "--role", "operator", "--password-stdin", "--registry", database)
        server.types(*added, words=f"{password}\n")
        write_private(self.password_file, f"{password}\n".encode())

    def _needs(self, wanted: Wanted) -> Iterator[Finding]:
        """What would keep it from coming up, while nothing has been started; its database is looked at as it starts."""
        for number, what, option in (
            (wanted.rest_port, "REST", "--rest-port"),
            (wanted.grpc_port, "gRPC", "--grpc-port"),
        ):
            yield checks.port("127.0.0.1", number, what, f"give {option} another")
        yield room(self.folder, "the system", _NEEDED_MB, "give --folder another disk")
        if wanted.devices and (made := LocalFleet.made_in(self.folder)) is not None:
            yield from of_ports(made)
            yield from of_folder(made)

    def _serving(self, wanted: Wanted, registry: str, fleet: LocalFleet | None) -> tuple[str, ...]:
        return (
            *("server", "serve", "--model", "default", "--registry", registry),
            *(("--fleet", str(fleet.folder.path)) if fleet is not None else ()),
            *("--runs", str(wanted.runs.absolute())),
            *("--rest-port", str(wanted.rest_port), "--grpc-port", str(wanted.grpc_port)),
        )

    def _watch(
        self, machine: Machine, wanted: Wanted, fleet: LocalFleet | None, say: Callable[[str], None]
    ) -> tuple[str | None, str | None]:
        """Start Prometheus and Grafana where they are installed; where they answer."""
        if which("prometheus") is None:
            say("no Prometheus is installed, so figures are not kept; Debian: apt-get install prometheus")
            return None, None
        targets = [Target(job="fedaffect-cloud", address=f"127.0.0.1:{wanted.rest_port}")]
        if fleet is not None:
            made = fleet.folder
            address, authority = made.service.removeprefix("https://"), made.authority.certificate_path
            targets.append(Target(job="fedaffect-fleet", address=address, authority=authority, token=made.token_path))
        port, drawn_at = free_ports(2)
        figures = f"http://127.0.0.1:{port}/"
        machine.keeps(prometheus(machine.folder, port, targets))
        if (program := grafana_here()) is None:
            say("no Grafana is installed, so dashboards are not drawn; Debian has none, grafana.com has a package")
            return figures, None
        machine.keeps(grafana(program, machine.folder, drawn_at, figures))
        return figures, f"http://127.0.0.1:{drawn_at}/"


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:  # noqa: S310 - our own address
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False
