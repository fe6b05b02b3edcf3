"""Ray's own way to start its processes, touched so that none asks the networks of clouds where it runs."""

from __future__ import annotations

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
