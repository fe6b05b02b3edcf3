"""Flower's SuperNode as a device runs it: the same program, told who it is, and quick while a round runs.

Flower's loop waits three seconds after it found no message, and half a second between looks for an answer; its executor
would ask for tasks all the time. Here the fleet's gate holds the request for a message until there is one, the
SuperNode holds its executor's for a task, and the executor's answer wakes the loop. A SuperLink without a gate that
holds requests is asked often for a minute after something happened, and seldom otherwise.

Run as ``python -m fedaffect.client.device.supernode DEVICE_FOLDER``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.ports import runtime_port
from fedaffect.client.flower_compat.supernode import run_supernode, speed_up
from fedaffect.edge.system.processes import end_with_parent

# What Flower sleeps where there was no message; anything shorter is a wait for an answer that is being made.
_IDLE_S: Final = 3.0
_FIRST_IDLE_S, _BUSY_IDLE_S = 0.05, 0.2
_AWAKE_S: Final = 60.0
# A server that answers "nothing" that late has held the request itself.
_HELD_S: Final = 1.0


class LoopBackoff:
    """How long Flower's loop sleeps.

    Parameters
    ----------
    clock, pause : callable
        Of the module ``time``.
    answered : Event, optional
        Set when an answer was made; ends a wait for one.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        pause: Callable[[float], None] = time.sleep,
        answered: threading.Event | None = None,
    ) -> None:
        self._clock = clock
        self._pause = pause
        self._answered = answered or threading.Event()
        # A device that was just started is often waited for.
        self._busy = self._woke = clock()
        self._idle_s = _FIRST_IDLE_S

    def sleep(self, seconds: float) -> None:
        """Sleep as long as makes sense where Flower would sleep for ``seconds``."""
        now = self._clock()
        if seconds < _IDLE_S:
            self._answered.wait(seconds)
            self._answered.clear()
            self._busy, self._idle_s = self._clock(), _FIRST_IDLE_S
        elif now - self._woke < _HELD_S:
            awake = now - self._busy < _AWAKE_S
            self._pause(self._idle_s if awake else seconds)
            self._idle_s = min(2 * self._idle_s, _BUSY_IDLE_S)
        self._woke = self._clock()


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
    answered = threading.Event()
    speed_up(LoopBackoff(answered=answered), answered)
    run_supernode(arguments_of(folder))


if __name__ == "__main__":
    end_with_parent()
    main(DeviceFolder(Path(sys.argv[1])))
