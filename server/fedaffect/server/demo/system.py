"""All of it on one machine: the inference server with its page, a fleet's server, and devices that learn with it."""

from __future__ import annotations

import json
import os
import secrets
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.error import URLError
from urllib.request import urlopen

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.files import write_private
from fedaffect.edge.system.folders import data_folder
from fedaffect.edge.system.only_one import is_held, only_one
from fedaffect.server.demo.local_fleet import LocalFleet
from fedaffect.server.demo.machines import Machine
from fedaffect.server.fleet.bringing_up import require_free

_LOOK_S: Final = 0.5
_STOP_S: Final = 60.0
_OPERATOR: Final = "operator"


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
        """Of the system that is up: ``pid``, ``page``, ``rest``, ``grpc``, ``fleet``, ``devices``.

        Raises
        ------
        RunError
            If none is up.
        """
        if not self.is_up:
            raise RunError(f"no system is up in {self.folder}; start it with fedaffect up")
        found: dict[str, Any] = json.loads(self._state.read_text(encoding="utf-8"))
        return found

    def run(
        self, bundle: Bundle, devices: int, rest_port: int, grpc_port: int, runs: Path, say: Callable[[str], None]
    ) -> None:
        """Bring everything up, say where it is, and stay until :meth:`stop`; a process that ends, ends all.

        Parameters
        ----------
        bundle : Bundle
            What the devices begin with.
        devices : int
            How many; without any there is no fleet either.
        rest_port, grpc_port : int
            Of the inference server.
        runs : Path
            Run folders of simulations that the page shows.
        say : callable
            Gets lines for a person.

        Raises
        ------
        ConfigError
            If somebody listens at a port.
        RunError
            If a system is up in that folder, or one of the processes ends.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with only_one(self._lock, f"a system is up in {self.folder} already; fedaffect down ends it"):
            self._state.unlink(missing_ok=True)
            for port in (rest_port, grpc_port):
                require_free("127.0.0.1", port, "give --rest-port or --grpc-port another")
            began = time.monotonic()
            fleet = LocalFleet(self.folder, bundle)
            server = Machine(self.folder / "inference")
            # Models and the bundle for browsers are this user's.
            del server.environment["FEDAFFECT_CACHE"]
            try:
                say("starting the inference server")
                database = ("--registry", f"sqlite:///{server.folder / 'server.db'}")
                beside: tuple[str, ...] = ()
                if devices:
                    fleet.make()
                    database = ("--registry", fleet.folder.settings.registry)
                    beside = ("--fleet", str(fleet.folder.path))
                self._make_account(server, database[1])
                server.runs(
                    "server",
                    *("server", "serve", "--model", "default", *database, *beside, "--runs", str(runs.absolute())),
                    *("--rest-port", str(rest_port), "--grpc-port", str(grpc_port)),
                )
                page = f"http://127.0.0.1:{rest_port}/"
                if devices:
                    say("starting a fleet: SuperLink, gate and service")
                    fleet.bring_up()
                    for k in range(devices):
                        say(f"starting device {k + 1} of {devices}")
                        fleet.join(f"device-{k + 1}")
                fleet.machines.append(server)
                fleet.wait_until(lambda: self._over.is_set() or _answers(f"{page}readyz"), "the inference server")
                self._write_state(page, grpc_port, fleet if devices else None, devices)
                say(f"ready after {time.monotonic() - began:.0f} s")
                while not self._over.wait(_LOOK_S):
                    fleet.require_running()
            finally:
                self._state.unlink(missing_ok=True)
                fleet.stop()
                server.stop()

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
        os.kill(self.state["pid"], signal.SIGTERM)
        until = time.monotonic() + _STOP_S
        while is_held(self._lock):
            if time.monotonic() > until:
                raise RunError(f"the system in {self.folder} has not ended after {_STOP_S:.0f} s; see its logs there")
            time.sleep(_LOOK_S)

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

    def _write_state(self, page: str, grpc_port: int, fleet: LocalFleet | None, devices: int) -> None:
        state = {
            "pid": os.getpid(),
            "page": page,
            "rest": f"{page}v1/predict",
            "grpc": f"127.0.0.1:{grpc_port}",
            "fleet": None if fleet is None else str(fleet.folder.path),
            "devices": devices,
            "account": _OPERATOR,
            "password_file": str(self.password_file),
        }
        write_private(self._state, (json.dumps(state) + "\n").encode())


def _answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:  # noqa: S310 - our own address
            return bool(reply.status == 200)
    except (URLError, OSError):
        return False
