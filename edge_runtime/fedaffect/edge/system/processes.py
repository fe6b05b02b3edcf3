"""Child processes kept alive: restarted when they end, ended with the process that started them."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
# Tells a child whose it is.
_PARENT: Final = "FEDAFFECT_PARENT_PID"
_CHECK_S: Final = 0.1
# What ends at once is tried again later and later; what ran this long starts again at the shortest wait.
_FIRST_WAIT_S, _LONGEST_WAIT_S, _RAN_WELL_S = 0.2, 10.0, 20.0
_STOP_S: Final = 10.0
# Of a child's log, looked at for why it ended, and shown.
_LAST_BYTES, _LONGEST_WORDS = 4_096, 120


@dataclass(slots=True)
class Child:
    """One process to be kept alive.

    Parameters
    ----------
    name : str
        For messages and its log file.
    command : sequence of str
    environment : mapping of str to str
        Beside this process's own.
    log : Path, optional
        Where its output goes; this process's own if not given.
    folder : Path, optional
        That it works in; this process's own if not given.
    ending : signal.Signals
        By which it is asked to end.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    folder: Path | None = None
    ending: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    starts: int = 0
    began: float = 0.0
    wait_s: float = _FIRST_WAIT_S
    due: float = 0.0

    def start(self) -> None:
        """Start it; in a session of its own, so that a signal reaches all that it starts in turn."""
        output: IO[bytes] | None = None
        if self.log is not None:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            output = self.log.open("ab")
        try:
            self.process = subprocess.Popen(  # noqa: S603 - commands of our own making
                self.command,
                env={**os.environ, **self.environment, _PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=self.folder,
                start_new_session=True,
            )
        finally:
            if output is not None:
                output.close()
        self.starts += 1
        self.began = time.monotonic()

    def last_words(self) -> str:
        """The last line of its log, shortened; why it ended mostly stands there."""
        if self.log is None:
            return ""
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - _LAST_BYTES))
                lines = file.read().decode(errors="replace").split("\n")
        except OSError:
            return ""
        return next((line.strip()[:_LONGEST_WORDS] for line in reversed(lines) if line.strip()), "")

    def stop(self) -> None:
        """End it and what it started: politely, then not."""
        if self.process is None:
            return
        for number, wait_s in ((self.ending, _STOP_S), (signal.SIGKILL, _STOP_S)):
            _signal_group(self.process.pid, number)
            try:
                self.process.wait(wait_s)
                break
            except subprocess.TimeoutExpired:
                logger.warning("%s does not stop, and is killed", self.name)
        # A process that ended by itself may have left others of its session behind.
        _signal_group(self.process.pid, signal.SIGKILL)


class Supervisor:
    """Keeps children alive until told to stop.

    Parameters
    ----------
    children : sequence of Child
    """

    def __init__(self, children: Sequence[Child]) -> None:
        self.children = list(children)
        self._stop = threading.Event()
        self._again: set[str] = set()

    def restart(self, name: str) -> None:
        """Have a child end and start again; may be called from another thread."""
        self._again.add(name)

    def run(self) -> None:
        """Start all, restart what ends, and return once `stop` was called and all have ended."""
        try:
            for child in self.children:
                child.start()
            while not self._stop.wait(_CHECK_S):
                for child in self.children:
                    self._look_after(child)
        finally:
            for child in reversed(self.children):
                child.stop()

    def stop(self) -> None:
        """Have :meth:`run` end; may be called from a signal handler or another thread."""
        self._stop.set()

    def _look_after(self, child: Child) -> None:
        now = time.monotonic()
        if child.name in self._again and child.process is not None:
            self._again.discard(child.name)
            child.stop()
            child.process, child.due, child.wait_s = None, now, _FIRST_WAIT_S
        if child.process is not None and (status := child.process.poll()) is not None:
            # What it started may hold its ports.
            _signal_group(child.process.pid, signal.SIGKILL)
            child.process = None
            child.wait_s = _FIRST_WAIT_S if now - child.began > _RAN_WELL_S else child.wait_s
            child.due = now + child.wait_s
            child.wait_s = min(2 * child.wait_s, _LONGEST_WAIT_S)
            said = f" ({last})" if (last := child.last_words()) else ""
            wait_s = child.due - now
            logger.warning("%s ended with status %d%s and is restarted in %.1f s", child.name, status, said, wait_s)
        if child.process is None and now >= child.due:
            child.start()


def stop_on_signals(stop: Callable[[], None]) -> None:
    """Call ``stop`` on SIGINT and SIGTERM."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _number, _frame: stop())


def end_with_parent(number: signal.Signals = signal.SIGTERM) -> None:
    """Have the kernel end this process by a signal when the one that started it ends, however. Linux only."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    # Taken away, as it is not true of this process's own children.
    in_container = os.environ.pop(_PARENT, None) == "1"
    if os.getppid() == 1 and not in_container:
        # It was over before the kernel was asked.
        raise SystemExit(0)


def _signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return
