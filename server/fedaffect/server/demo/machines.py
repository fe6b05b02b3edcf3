"""A fleet's server and its devices on this machine: real commands, in folders of their own."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from fedaffect.edge.bundle import BundleStore
from fedaffect.edge.errors import RunError
from fedaffect.edge.system.folders import cache_folder
from fedaffect.edge.system.processes import Child

# This command, in a process of its own; and the same, ended by the kernel should the process that started it be killed.
FEDAFFECT: Final = (sys.executable, "-c", "from fedaffect.edge.cli.main import main; main()")
_TIED: Final = (
    *FEDAFFECT[:2],
    f"from fedaffect.edge.system.processes import end_with_parent; end_with_parent(); {FEDAFFECT[2]}",
)
_LOOK_S: Final = 0.25
_PATIENCE_S: Final = 120.0
# Of what a command that failed said.
_LONGEST_WORDS: Final = 140


class Machine:
    """One machine of a demonstration: its folders, the commands typed at it, and what it runs.

    Parameters
    ----------
    folder : Path
        Holds everything that it writes.

    Attributes
    ----------
    environment : mapping of str to str
        Of its programs, beside this process's own: where its user's folders are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        self._running: list[Child] = []
        self.environment = {
            **{f"FEDAFFECT_{kind}": str(folder / kind.lower()) for kind in ("CONFIG", "CACHE", "DATA")},
            # Some programs leave something there.
            "TMPDIR": str(folder / "tmp"),
            # As many programs as people share the processor.
            "OMP_NUM_THREADS": "1",
        }

    def types(self, *arguments: str, words: str = "") -> str:
        """Run ``fedaffect`` with these arguments, and give it words to read; what it says.

        Raises
        ------
        RunError
            If it fails.
        """
        return "\n".join(self.types_and_reads(*arguments, words=words))

    def types_and_reads(self, *arguments: str, words: str = "") -> Iterator[str]:
        """Like :meth:`types`, line by line as it says them."""
        with (self.folder / "commands.log").open("ab+") as log:
            began = log.seek(0, os.SEEK_END)
            with subprocess.Popen(  # noqa: S603 - commands of our own making
                (*FEDAFFECT, *arguments),
                env=self._whole_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self.folder,
            ) as process:
                try:
                    if process.stdin is not None:
                        process.stdin.write(words)
                        process.stdin.close()
                    for line in process.stdout or ():
                        yield line.rstrip("\n")
                except BaseException:
                    # An interrupted reader does not wait for it.
                    process.kill()
                    raise
            if process.returncode:
                log.seek(began)
                said = log.read().decode(errors="replace").strip().splitlines() or ["it says nothing"]
                command = " ".join(arguments[:2])
                raise RunError(f"fedaffect {command} failed on {self.folder.name}: {said[-1][:_LONGEST_WORDS]}")

    def runs(self, name: str, *arguments: str) -> None:
        """Start ``fedaffect`` with these arguments, and let it run until :meth:`stop`."""
        self.keeps(Child(name, (*_TIED, *arguments), self.environment, self.folder / f"{name}.log"))

    def keeps(self, child: Child) -> None:
        """Start another program, and let it run until :meth:`stop`."""
        self._running.append(child)
        child.start()

    def stop(self) -> None:
        """End what it runs."""
        for child in reversed(self._running):
            child.stop()

    def require_running(self) -> None:
        """See that nothing of it has ended.

        Raises
        ------
        RunError
            With the last words of what has.
        """
        for child in self._running:
            if child.process is not None and child.process.poll() is not None:
                raise RunError(f"{child.name} on {self.folder.name} has ended: {child.last_words()}")

    @property
    def bundles(self) -> BundleStore:
        """The bundles that were installed on it."""
        place = BundleStore.default().folder.relative_to(cache_folder())
        return BundleStore(self.folder / "cache" / place, trust=None)

    @property
    def version(self) -> str | None:
        """Of the bundle that it uses now."""
        current = self.bundles.current(verify=False)
        return None if current is None else current.version

    def _whole_environment(self) -> Mapping[str, str]:
        return {**os.environ, **self.environment}


def wait_until(there: Callable[[], bool], what: str, machines: Callable[[], None]) -> None:
    """Wait for something that other processes bring about.

    Parameters
    ----------
    there : callable
    what : str
        For the error.
    machines : callable
        Raises where one of them has ended.

    Raises
    ------
    RunError
        If it is not there after two minutes.
    """
    until = time.monotonic() + _PATIENCE_S
    while not there():
        machines()
        if time.monotonic() > until:
            raise RunError(f"{what} is not there after {_PATIENCE_S:.0f} s; try on a machine that is less busy")
        time.sleep(_LOOK_S)


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens at now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [int(probe.getsockname()[1]) for probe in probes]
    finally:
        for probe in probes:
            probe.close()
