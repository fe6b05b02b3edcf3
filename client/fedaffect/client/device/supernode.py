"""Flower's SuperNode as a device runs it: the same program, told who it is, and quick while a round runs.

Flower's loop waits three seconds after it found no message, and half a second between looks for an answer; its trainer
would ask for tasks all the time. Here the fleet's SuperLink holds the question for a message until there is one, the
SuperNode holds its trainer's for a task, and the trainer's answer wakes the loop. A SuperLink that holds nothing is
asked often for a minute after something happened, and seldom otherwise.

Run as ``python -m fedaffect.client.device.supernode DEVICE_FOLDER``.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Final

import flwr.supernode.main as runtime_api
import flwr.supernode.start_client_internal as loop
from flwr.supercore.exit import add_exit_handler
from flwr.supernode.cli import flower_supernode

from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.object_chunks import MISSING_AT_MOST_S, MISSING_S
from fedaffect.client.device.ports import runtime_port
from fedaffect.client.protocol.long_poll import Arrivals, Held, Holding
from fedaffect.edge.system.processes import end_with_parent

# What Flower sleeps where there was no message; anything shorter is a wait for an answer that is being made.
_IDLE_S: Final = 3.0
_FIRST_IDLE_S, _BUSY_IDLE_S = 0.05, 0.2
_AWAKE_S: Final = 60.0
# Who answers "nothing" that late has waited for something himself.
_HELD_S: Final = 1.0
# Below the 30 s that the trainer waits for an answer.
_TASK_HELD_S: Final = 10.0


class Patience:
    """Stands in for the ``time`` module in Flower's loop, which uses it for nothing but ``sleep``.

    Parameters
    ----------
    clock, pause : callable
        Of the real module.
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
        """Sleep as long as makes sense now."""
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


def wake_each_other() -> None:
    """Have Flower's loop and the trainer wait for each other rather than look in intervals."""
    tasks, answered = Arrivals(), threading.Event()
    held = {"/v1/runtime/acquire-task": Held(tasks, _TASK_HELD_S)}
    told = {"/v1/runtime/push-task-output": answered.set}
    make_app, pull = runtime_api.create_app, loop._pull_and_store_message

    def create_app(*arguments: Any, **named: Any) -> Any:
        app = make_app(*arguments, **named)
        app.add_middleware(Holding, held=held, told=told)
        return app

    def pulled(*arguments: Any, **named: Any) -> int | None:
        run = pull(*arguments, **named)
        if run is not None:
            # Not before the message is there as a whole.
            tasks.came()
        return run

    loop.time = Patience(answered=answered)  # type: ignore[assignment,attr-defined]
    loop._pull_and_store_message = pulled
    loop.pull_objects = partial(  # type: ignore[attr-defined]
        loop.pull_objects,  # type: ignore[attr-defined]
        initial_backoff=MISSING_S,
        backoff_cap=MISSING_AT_MOST_S,
        max_tries_per_object=None,
    )
    runtime_api.create_app = create_app
    add_exit_handler(tasks.close, run_before_force_exit=True)


def main(folder: DeviceFolder) -> None:
    """Run the SuperNode until it is told to stop."""
    wake_each_other()
    sys.argv = ["flower-supernode", *arguments_of(folder)]
    flower_supernode()


if __name__ == "__main__":
    end_with_parent()
    main(DeviceFolder(Path(sys.argv[1])))
