"""``fedaffect server serve`` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_STARTING_S: Final = 600.0
_LOOK_S: Final = 0.02


class ServerProcess:
    """A server at ports of its own, and what it has logged so far.

    Parameters
    ----------
    folder : Path
        Gets its database and its log.
    model : str or Path
        As ``--model`` takes it.
    *options : str
        More of the command line.

    Attributes
    ----------
    events : list of dict
        Lines of its log, up to the one that was waited for last.
    """

    def __init__(self, folder: Path, model: str | Path, *options: str) -> None:
        command = [sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()", "server", "serve"]
        command += ["--model", str(model), "--rest-port", "0", "--grpc-port", "0"]
        command += ["--database", f"sqlite:///{folder / 'server.db'}", *options]
        self.events: list[dict[str, Any]] = []
        with (folder / "server.log").open("w") as log:
            self.process = subprocess.Popen(command, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
        self._log = (folder / "server.log").open()
        self.rest_url = str(self.wait_for("serving")["rest"])

    def wait_for(self, event: str) -> dict[str, Any]:
        """The next line of the log that tells an event."""
        until = time.monotonic() + _STARTING_S
        while time.monotonic() < until:
            ended = self.process.poll() is not None
            read_to = self._log.tell()
            if (line := self._log.readline()).endswith("\n"):
                self.events.append(json.loads(line))
                if self.events[-1]["event"] == event:
                    return self.events[-1]
            elif ended:
                break
            else:
                self._log.seek(read_to)
                time.sleep(_LOOK_S)
        self.close()
        raise AssertionError(f"it did not say {event!r}: {self.events[-20:]}")

    def close(self) -> None:
        """Kill it, where it has not ended."""
        self.process.kill()
        self.process.wait()
        self._log.close()


@contextmanager
def serving(folder: Path, model: str | Path, *options: str) -> Iterator[ServerProcess]:
    """A server as long as a ``with`` lasts."""
    server = ServerProcess(folder, model, "--drain-s", "600", *options)
    try:
        yield server
    finally:
        server.close()
