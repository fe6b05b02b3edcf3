"""Servers as processes of their own: started, waited for, watched, stopped."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import httpx
import psutil

ROOT = Path(__file__).resolve().parents[2]
_START_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Running:
    """A server that answers.

    Parameters
    ----------
    url : str
        Where it predicts.
    process : int
        Its id.
    """

    url: str
    process: int

    def rss_mb(self) -> float:
        """Memory of it and its children."""
        mother = psutil.Process(self.process)
        return sum(each.memory_info().rss for each in (mother, *mother.children(recursive=True))) / 2**20


@contextmanager
def ours(profile: str, precision: str, device: str, folder: Path) -> Iterator[Running]:
    """``fedaffect server serve`` on a model folder of random weights."""
    from fedaffect.edge.labels import label_set
    from fedaffect.server.models.full_model import ModelCard

    labels = label_set("shared7").labels
    version = f"{profile}-{precision}"
    ModelCard(version=version, profile=profile, label_set="shared7", labels=labels, random_init=True).write(folder)
    port = _free_port()
    command = [str(Path(sys.executable).with_name("fedaffect")), "server", "serve", "--model", str(folder)]
    command += ["--rest-port", str(port), "--grpc-port", "0", "--precision", precision, "--device", device]
    command += ["--database", f"sqlite:///{folder}/registry.db", "--deadline-ms", "600000"]
    with _process(command, port, folder / "server.log") as process:
        yield Running(f"http://127.0.0.1:{port}/v1/predict", process)


@contextmanager
def peer(module: str, profile: str, folder: Path, **environment: str) -> Iterator[Running]:
    """A server of this folder, with variables of its own."""
    port = _free_port()
    command = [sys.executable, "-m", f"benchmarks.serving_peers.{module}", profile, str(port)]
    with _process(command, port, folder / f"{module}.log", environment) as process:
        yield Running(f"http://127.0.0.1:{port}/predict", process)


@contextmanager
def _process(
    command: list[str], port: int, log: Path, environment: Mapping[str, str] = MappingProxyType({})
) -> Iterator[int]:
    with log.open("wb") as out:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=out, stderr=out, env=environment, start_new_session=True, preexec_fn=_ordinary
        )
        try:
            _wait_until_ready(process, port, log)
            yield process.pid
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            # Its workers too: some servers leave theirs behind.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _ordinary() -> None:
    """The load's priority is its own."""
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _wait_until_ready(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    until_s = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < until_s:
        if process.poll() is not None:
            break
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=2).status_code == 200:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.3)
    raise SystemExit(f"{' '.join(process.args)} did not start:\n{log.read_text()[-2000:]}")  # type: ignore[arg-type]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
