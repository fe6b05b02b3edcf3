"""Being connected to Ray while at least one model needs it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from typing import Any, Final

import ray
from ray import serve

from fedaffect.edge.errors import ConfigError
from fedaffect.server.serving.engines.ray_settings import RaySettings

# Ray gives way to every other process of a machine (niceness 15), which is not what one waits for.
_QUIET: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}


class RayConnection:
    """Counts who needs Ray: connects for the first, disconnects after the last. Shared by threads.

    A Ray that this process was connected to before is used and left alone.

    Parameters
    ----------
    settings : RaySettings
    """

    def __init__(self, settings: RaySettings) -> None:
        self._settings = settings
        self._users = 0
        self._owned = False
        self._lock = threading.Lock()

    def enter(self, connected: Callable[[], object] | None = None) -> None:
        """Be connected, with Ray Serve running but for its own HTTP proxy: requests come through our own faces.

        Parameters
        ----------
        connected : callable, optional
            Called as soon as Ray has started in this process.

        Raises
        ------
        ConfigError
            If Ray does not start, or the cluster does not answer.
        """
        with self._lock:
            if self._users == 0:
                self._owned = not ray.is_initialized()
                if self._owned:
                    self._connect()
                    if connected is not None:
                        connected()
                # It tells of each deployment and replica on stderr, where our own log has a line of its own form.
                logging.getLogger("ray.serve").setLevel(logging.ERROR)
                serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            self._users += 1

    def leave(self) -> None:
        """Need it no more."""
        with self._lock:
            self._users -= 1
            if self._users == 0 and self._owned:
                if self._settings.address is None:
                    serve.shutdown()  # type: ignore[no-untyped-call]
                # On a cluster, others may be served by the same Ray Serve.
                ray.shutdown()

    def _connect(self) -> None:
        address = self._settings.address
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        if address is None:
            options |= {"num_cpus": self._settings.cores, "object_store_memory": self._settings.store_bytes}
            options |= {"include_dashboard": False}
        else:
            options["address"] = address
        before = {name: os.environ.get(name) for name in _QUIET}
        os.environ.update({name: value for name, value in _QUIET.items() if name not in os.environ})
        try:
            ray.init(**options)
        except (ConnectionError, RuntimeError, ValueError, OSError) as error:
            where = f"the Ray cluster at {address} does not answer" if address else "Ray does not start on this machine"
            raise ConfigError(f"{where} ({error}); check the Ray address, or use --engine local") from error
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value


def restore_signal_handlers() -> None:
    """Install Python's handlers of SIGTERM and SIGINT again, from the main thread; from another one do nothing.

    Ray puts one of its own before them, which prints a stack trace and aborts the process three seconds later,
    whatever is under way.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        handler = signal.getsignal(number)
        if handler is not None:
            signal.signal(number, handler)
            # As asyncio has it for its own.
            signal.siginterrupt(number, False)
