"""Ray's own way to start its processes: no more than are needed, and slow ones are waited for."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from ray._private import services
from ray._private.node import Node

_AGENT: Final = "--dashboard_agent_command="
_HELPERS: Final = ("start_api_server", "start_monitor")
_LOGS: Final = "start_log_monitor"
# Ray gives a node half a minute to appear, which a busy machine may exceed.
_NODE_S, _LOOK_S = 120.0, 0.1


@contextmanager
def waiting_for_nodes() -> Iterator[None]:
    """Start Ray with more time for its node than Ray's own constant leaves."""
    look_up = services.get_node

    def get_node(*which: Any, **named: Any) -> Any:
        until = time.monotonic() + _NODE_S
        while True:
            try:
                found: Any = look_up(*which, **named)  # type: ignore[no-untyped-call]
                return found
            except RuntimeError:
                if time.monotonic() > until:
                    raise
            time.sleep(_LOOK_S)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = look_up


def _absent(word: str) -> str:
    """The scheduler's argument that starts the dashboard's agent, with what stands in for it; any other as it is."""
    if not word.startswith(_AGENT):
        return word
    own = shlex.split(word.removeprefix(_AGENT))
    about = [each for each in own if each.startswith(("--session-dir=", "--node-id="))]
    stand_in = Path(__file__).with_name("ray_absent_agent.py")
    return _AGENT + subprocess.list2cmdline([sys.executable, "-I", "-S", str(stand_in), *about])


@contextmanager
def without_helpers(logs: bool = False) -> Iterator[None]:
    """Start Ray without processes that nobody here asks anything: dashboard, its agent, autoscaler, what gathers logs.

    They take four seconds of a processor at every start, all but the agent's after it, and the dashboard's asks clouds
    where it runs even where it reports nothing.

    Parameters
    ----------
    logs : bool
        Start what gathers logs all the same.
    """
    kept = {name: getattr(Node, name) for name in (*_HELPERS, *(() if logs else (_LOGS,)))}
    for name in kept:
        setattr(Node, name, lambda self, **named: None)
    start_process = services.start_ray_process

    def start_without_agent(command: list[str], *which: Any, **named: Any) -> Any:
        return start_process([_absent(word) for word in command], *which, **named)

    services.start_ray_process = start_without_agent
    try:
        yield
    finally:
        services.start_ray_process = start_process
        for name, start in kept.items():
            setattr(Node, name, start)
