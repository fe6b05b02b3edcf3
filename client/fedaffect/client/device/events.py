"""What apps on a device are told of: an event each, to a callable or to a program of the user's."""

from __future__ import annotations

import json
import logging
import subprocess
from collections.abc import Callable, Mapping, Sequence
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final, TypeAlias

logger = logging.getLogger(__name__)

# The name of what happened, and what is to be known of it: see `ProgramHook`.
OnEvent: TypeAlias = Callable[[str, Mapping[str, Any]], None]

_LONGEST_S: Final = 60.0


def nobody(event: str, facts: Mapping[str, Any]) -> None:
    """Where nobody asked to be told."""


class ProgramHook:
    """Runs a program for each event, one after the other; it gets the event as one line of JSON on its input.

    ======== =========================================================================================
    event    facts
    ======== =========================================================================================
    bundle   ``version`` in use now; where compared, ``before``, ``after``, ``examples``: answered right
    left     ``version`` that is not used any more, and ``why``
    shared   ``what`` left the device, of which ``run`` and ``round``, ``masked``, ``noisy``, ``at_s``
    approved the fleet lets the device take part from now on
    revoked  ``why`` the fleet has the device no more
    ======== =========================================================================================

    A program that fails, or takes longer than a minute, is logged and costs the device nothing.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._command = tuple(command)
        self._waiting: SimpleQueue[str | None] = SimpleQueue()
        self._thread = Thread(target=self._run, name="events", daemon=True)
        self._thread.start()

    def __call__(self, event: str, facts: Mapping[str, Any]) -> None:
        """Let the program know, when it is done with what came before."""
        self._waiting.put(json.dumps({"event": event, **facts}))

    def close(self) -> None:
        """Wait a minute at most for what it was not told yet."""
        self._waiting.put(None)
        self._thread.join(_LONGEST_S)

    def _run(self) -> None:
        while (line := self._waiting.get()) is not None:
            try:
                # The user's own command.
                subprocess.run(self._command, input=f"{line}\n".encode(), check=True, timeout=_LONGEST_S)  # noqa: S603
            except (OSError, subprocess.SubprocessError) as error:
                logger.warning("an event was not taken: %s", error)
