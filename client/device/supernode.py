"""Flower's SuperNode as a device runs it: the same program, told who it is, and less patient while a round runs.

Flower's loop waits three seconds after it found no message, and half a second between looks for an answer; a round
of one second would take five. Here it looks more often for a minute after something happened, and seldom otherwise.

Run as ``python -m client.device.supernode DEVICE_FOLDER``.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import flwr.supernode.start_client_internal as loop
from flwr.supernode.cli import flower_supernode

from client.device.folder import DeviceFolder
from client.device.ports import runtime_port
from client.device.processes import end_with_parent

# What Flower sleeps where there was no message; anything shorter is a wait for an answer that is being made.
_IDLE_S: Final = 3.0
_BUSY_IDLE_S, _ANSWER_S = 0.2, 0.05
_AWAKE_S: Final = 60.0


class Patience:
    """Stands in for the ``time`` module in Flower's loop, which uses it for nothing but ``sleep``.

    Parameters
    ----------
    clock, pause : callable
        Of the real module.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, pause: Callable[[float], None] = time.sleep
    ) -> None:
        self._clock = clock
        self._pause = pause
        # A device that was just started is often waited for.
        self._busy = clock()

    def sleep(self, seconds: float) -> None:
        """Sleep as long as makes sense now."""
        if seconds < _IDLE_S:
            self._busy = self._clock()
            self._pause(_ANSWER_S)
        else:
            awake = self._clock() - self._busy < _AWAKE_S
            self._pause(_BUSY_IDLE_S if awake else seconds)


def arguments_of(folder: DeviceFolder) -> list[str]:
    """What ``flower-supernode`` is told."""
    settings = folder.settings
    partition = settings.number if settings.partition < 0 else settings.partition
    return [
        *("--superlink", settings.superlink),
        *("--root-certificates", str(folder.authority_path)),
        *("--auth-supernode-private-key", str(folder.key_path)),
        *("--node-config", f"partition-id={partition}"),
        *("--isolation", "process"),
        *("--superexec-auth-secret-file", str(folder.secret_path)),
        *("--host", "127.0.0.1"),
        *("--port", str(runtime_port())),
    ]


def main(folder: DeviceFolder) -> None:
    """Run the SuperNode until it is told to stop."""
    loop.time = Patience()  # type: ignore[assignment,attr-defined]
    sys.argv = ["flower-supernode", *arguments_of(folder)]
    flower_supernode()


if __name__ == "__main__":
    end_with_parent()
    main(DeviceFolder(Path(sys.argv[1])))
