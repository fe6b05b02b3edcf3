"""A fleet on one machine, brought up by the commands that an operator and a device's user would type."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from fedaffect.edge.errors import FedAffectError
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.setup.folder import FleetFolder

_FEDAFFECT = str(Path(sys.executable).with_name("fedaffect"))
_STARTING_S = 600.0
_LOOK_S = 0.25


class SmallFleet:
    """SuperLink, aggregator service and devices as processes of their own, with TLS and node authentication.

    Parameters
    ----------
    folder : Path
        Gets the fleet's folder, one for each device, and what they write.
    cohort : Path
        Each device learns one of its partitions.
    registry : str, optional
        URL of its database; SQLite in the folder if not given.
    environment : mapping of str to str, optional
        For all processes.
    root : SmallFleet, optional
        Which it joins as a region before it comes up.
    """

    def __init__(
        self,
        folder: Path,
        cohort: Path,
        registry: str = "",
        environment: Mapping[str, str] | None = None,
        root: SmallFleet | None = None,
    ) -> None:
        self.folder = folder
        self.cohort = cohort
        self.path = folder / "fleet"
        self._registry = registry
        self._root = root
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self.superlink_port, self.service_port = free_port(), free_port()

    def command(
        self, *arguments: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run `fedaffect` and return what it says."""
        done = subprocess.run(
            (_FEDAFFECT, *arguments),
            env={**self._environment, **(environment or {})},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise RuntimeError(f"fedaffect {' '.join(arguments)}: {done.stderr}")
        return done

    def __enter__(self) -> SmallFleet:
        self.folder.mkdir(parents=True, exist_ok=True)
        registry = ("--registry", self._registry) if self._registry else ()
        ports = ("--superlink-port", str(self.superlink_port), "--service-port", str(self.service_port))
        self.command("fleet", "init", "--fleet", str(self.path), *ports, *registry)
        if (root := self._root) is not None:
            self.command(
                *("fleet", "region", "join", "--fleet", str(self.path), "--name", self.folder.name),
                *("--root", f"https://localhost:{root.service_port}", "--token", root.token("--region")),
                *("--ca", str(root.path / "authority" / "ca.pem")),
            )
        self.up()
        return self

    def up(self) -> None:
        """Bring SuperLink and service up, and wait until both answer."""
        self._start("up", "fleet", "up", "--fleet", str(self.path))
        self.wait_for(lambda: self.status()["superlink"] == "answers", "the service")

    def renew(self, environment: Mapping[str, str]) -> None:
        """Give what is started from now on this environment instead, beside this process's own."""
        self._environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}

    def token(self, *more: str) -> str:
        """A token that lets one device in."""
        return self.command("fleet", "token", "--fleet", str(self.path), *more).stdout.strip()

    def enroll(
        self,
        name: str,
        partition: int | None,
        *more: str,
        consent: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> Path:
        """Enrol a device, which learns a partition, or its own examples; its folder."""
        folder = self.folder / name
        own = () if partition is None else ("--partition", str(partition))
        self.command(
            *("device", "enroll", "--device", str(folder), "--name", name, *own),
            *("--server", f"https://localhost:{self.service_port}", "--token", self.token()),
            *("--ca", str(self.path / "authority" / "ca.pem"), "--consent" if consent else "--no-consent", *more),
            environment=environment,
        )
        return folder

    def start(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        """Start an enrolled device."""
        self._start(name, "device", "start", "--device", str(self.folder / name), environment=environment)

    def start_plain(self, name: str, partition: int) -> None:
        """Start Flower's own SuperNode with an enrolled device's key, and nothing of ours beside it."""
        device = self.folder / name
        self._start(
            name,
            *("--superlink", f"localhost:{self.superlink_port}", "--port", str(free_port())),
            *("--root-certificates", str(device / "authority.pem")),
            *("--auth-supernode-private-key", str(device / "device.key")),
            *("--node-config", f"partition-id={partition}"),
            program="flower-supernode",
            environment={
                "FLWR_HOME": str(device / "flwr"),
                "FLWR_TELEMETRY_ENABLED": "0",
                "FLWR_DISABLE_UPDATE_CHECK": "1",
                "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}",
            },
        )

    def status(self) -> dict[str, Any]:
        """What `fedaffect fleet status --json` says, without a process for each look."""
        with Operator.of(FleetFolder.open(self.path)) as operator:
            return operator.post("/v1/status")

    def online(self, count: int) -> None:
        """Wait until so many devices are online."""
        self.wait_for(lambda: sum(d["online"] for d in self.status()["devices"]) >= count, f"{count} devices")

    def submit(self, name: str, rounds: int, **settings: Any) -> None:
        """Submit a run over the cohort."""
        pairs = [f"{key.replace('_', '-')}={json.dumps(value)}" for key, value in settings.items()]
        more = [argument for pair in pairs for argument in ("--set", pair)]
        self.command(
            *("fleet", "run", "--fleet", str(self.path), "--name", name, "--rounds", str(rounds)),
            *("--cohort-folder", str(self.cohort), *more),
        )

    def run_state(self, name: str) -> dict[str, Any]:
        """One run as the status shows it."""
        return next(run for run in self.status()["runs"] if run["id"] == name)

    def wait(self, name: str, timeout_s: float = 1800.0) -> list[dict[str, Any]]:
        """Wait until a run is over; its rounds."""
        self.wait_for(lambda: self.run_state(name)["state"] != "open", f"run {name}", timeout_s)
        state = self.run_state(name)
        if state["state"] != "finished":
            raise RuntimeError(f"run {name} is {state['state']}: {state['reason']}")
        return self.rounds(name)

    def rounds(self, name: str) -> list[dict[str, Any]]:
        """The lines of a run's metrics."""
        path = self.path / "runs" / name / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def wait_for(self, there: Callable[[], bool], what: str, timeout_s: float = _STARTING_S) -> None:
        """Wait for something; what does not answer yet is not there."""
        until = time.monotonic() + timeout_s
        while True:
            try:
                if there():
                    return
            except (RuntimeError, FedAffectError, StopIteration):
                pass
            if time.monotonic() > until:
                raise TimeoutError(f"{what} is not there after {timeout_s:.0f} s; see {self.folder}")
            time.sleep(_LOOK_S)

    def kill(self, pattern: str) -> list[int]:
        """Kill (SIGKILL) the fleet's own processes whose command line holds a text; their numbers."""
        return [pid for pid in self.processes(pattern) if _kill(pid)]

    def kill_one(self, pid: int) -> bool:
        """Kill one of the fleet's processes; False where it is gone already."""
        return _kill(pid)

    def processes(self, pattern: str) -> list[int]:
        """Processes of this fleet whose command line holds a text."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                    ours = str(self.folder).encode() in (entry / "environ").read_bytes() or str(self.folder) in line
                except OSError:
                    continue
                if ours and pattern in line:
                    found.append(int(entry.name))
        return found

    def _start(
        self, name: str, *arguments: str, program: str = "fedaffect", environment: Mapping[str, str] | None = None
    ) -> None:
        command = (str(Path(sys.executable).with_name(program)), *arguments)
        self._started[name] = command, {**self._environment, **(environment or {})}
        self.again(name)

    def again(self, name: str) -> None:
        """Start what was started under a name before, as a machine does when its power is back."""
        command, environment = self._started[name]
        with (self.folder / f"{name}.out").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command, env=environment, cwd=self.folder, stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )

    def lives(self, name: str) -> bool:
        """Whether what was started under a name is still running."""
        process = self._processes.get(name)
        return process is not None and process.poll() is None

    def crash(self, name: str) -> None:
        """End what was started under a name, and all that it started in turn, by SIGKILL: a power cut."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGSTOP)
        for pid in (*_descendants(process.pid), process.pid):
            _kill(pid)
        process.wait()

    def stop(self, name: str) -> int:
        """Stop what was started under a name, and return its status."""
        process = self._processes.pop(name)
        process.send_signal(signal.SIGTERM)
        return process.wait(300)

    def exit_status(self, name: str, timeout_s: float = 600.0) -> int:
        """Wait until what was started under a name ends by itself; its status."""
        return self._processes.pop(name).wait(timeout_s)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.kill(str(self.folder))


def free_port() -> int:
    """A port that nobody listens at now, and that the kernel gives to nobody who asks for any until it is used."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def _descendants(pid: int) -> list[int]:
    """All that a process started, and what those started."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text(encoding="ascii").split()):
                found += [*_descendants(child), child]
    return found


def _kill(pid: int) -> bool:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True
