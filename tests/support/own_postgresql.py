"""A PostgreSQL of one's own for as long as a ``with`` lasts: it can be killed at any instant and brought back."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Final

from fedaffect.edge.errors import ConfigError
from fedaffect.server.demo.postgresql import programs

_USER: Final = "postgres"
_STARTING_S, _LOOK_S = 300.0, 0.05


class NoPostgresql(RuntimeError):
    """No PostgreSQL can be started on this machine; the message says what is missing."""


class OwnPostgresql:
    """A server in a temporary folder, at a free port of 127.0.0.1, that trusts whoever connects.

    It writes as a server in use does: ``fsync`` and ``full_page_writes`` stay on, so that what it says to have
    committed is there after a crash.

    Raises
    ------
    NoPostgresql
        When entered, if its programs are missing, or this is root and there is no user ``postgres`` to run them as.
    """

    def __init__(self) -> None:
        try:
            self._programs = programs(None)
        except ConfigError as error:
            raise NoPostgresql(str(error)) from error
        # Not in a folder of the caller's: those are closed to the user that the server runs as.
        self.folder = Path(tempfile.gettempdir())
        self._server: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])

    @property
    def url(self) -> str:
        """Of its database, as SQLAlchemy takes it."""
        return f"postgresql+psycopg://{_USER}@127.0.0.1:{self.port}/{_USER}"

    @property
    def runs(self) -> bool:
        """Whether its process lives."""
        return self._server is not None and self._server.poll() is None

    def __enter__(self) -> OwnPostgresql:
        self.folder = Path(tempfile.mkdtemp(prefix="own-postgresql-"))
        if os.getuid() == 0:
            shutil.chown(self.folder, _USER)
        try:
            self._call("initdb", "-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C")
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    @property
    def _data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        """Start the server, and return once it answers; after a crash it recovers first."""
        until = time.monotonic() + _STARTING_S
        while not self._answers():
            if not self.runs:
                # Also again: for a moment after a crash its shared memory may still be held.
                self._server = self._launched()
            if time.monotonic() > until:
                said = (self.folder / "server.log").read_text(errors="replace")[-1000:]
                raise RuntimeError(f"PostgreSQL does not start in {self.folder}: {said}")
            time.sleep(_LOOK_S)

    def _launched(self) -> subprocess.Popen[bytes]:
        with (self.folder / "server.log").open("ab") as log:
            return subprocess.Popen(
                (
                    *(str(self._programs / "postgres"), "-D", str(self._data), "-k", str(self.folder)),
                    *("-h", "127.0.0.1", "-p", str(self.port), "-c", "shared_buffers=16MB"),
                ),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                user=_other_user(),
            )

    def _answers(self) -> bool:
        if not self.runs:
            return False
        ready = (str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port), "-U", _USER)
        return subprocess.run(ready, check=False).returncode == 0

    def kill(self) -> None:
        """End it and all its processes by SIGKILL, wherever they are: nothing is flushed, nobody is told."""
        if self._server is None:
            return
        # Stopped, it starts no further ones while they are counted.
        self._server.send_signal(signal.SIGSTOP)
        for pid in (*_children(self._server.pid), self._server.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._server.wait()
        self._server = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.kill()
        self._remove()

    def _remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _call(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            (str(self._programs / program), *arguments),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            user=_other_user(),
        )
        if done.returncode:
            raise NoPostgresql(f"{program} of PostgreSQL: {done.stderr.strip()}")


def _other_user() -> str | None:
    """Whom the programs run as: they refuse to run as root."""
    if os.getuid() != 0:
        return None
    try:
        Path(f"~{_USER}").expanduser()
    except RuntimeError as error:
        raise NoPostgresql(f"PostgreSQL refuses to run as root, and there is no user {_USER!r}") from error
    return _USER


def _children(pid: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
