"""Ray's own way to start its processes: no more than are needed, and slow ones are waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ray._private import services
from ray._private.node import Node

_HELPERS: Final = ("start_api_server", "start_monitor", "start_log_monitor")
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


@contextmanager
def without_helpers() -> Iterator[None]:
    """Start Ray without processes that nobody here asks anything: dashboard, autoscaler, and what gathers logs.

    They take two seconds of a processor at every start, and the dashboard's asks clouds where it runs even where it
    reports nothing.
    """
    kept = {name: getattr(Node, name) for name in _HELPERS}
    for name in _HELPERS:
        setattr(Node, name, lambda self, **named: None)
    try:
        yield
    finally:
        for name, start in kept.items():
            setattr(Node, name, start)
