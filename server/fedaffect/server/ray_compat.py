"""Ray's own way to start its processes: none asks clouds where it runs, and slow ones are waited for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from ray._private import ray_constants, services

# Nobody listens at the port of RFC 863 here, so that what the process asks by HTTP ends on this machine. Ray's own
# channels take no proxy.
_NOWHERE = MappingProxyType(
    dict.fromkeys(("http_proxy", "HTTP_PROXY"), "http://127.0.0.1:9") | dict.fromkeys(("no_proxy", "NO_PROXY"), "")
)
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
def asking_no_cloud() -> Iterator[None]:
    """Start Ray without questions to metadata services, which its head puts even where it reports nothing."""
    start = services.start_ray_process

    def started(command: list[str], process_type: str, *given: Any, **named: Any) -> Any:
        if process_type == ray_constants.PROCESS_TYPE_DASHBOARD:
            named["env_updates"] = {**(named.get("env_updates") or {}), **_NOWHERE}
        return start(command, process_type, *given, **named)

    services.start_ray_process = started
    try:
        yield
    finally:
        services.start_ray_process = start
