"""Starting, joining and leaving Ray, for simulated clients and for served models."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

import ray

from fedaffect.edge.errors import ConfigError
from fedaffect.server.ray_compat import waiting_for_nodes, without_helpers

# Replies are fetched as they come, so that little waits in the store at any time.
_STORE_BYTES_PER_CORE = 192 << 20
# Ray gives way to every other process of a machine (niceness 15), which is not what one waits for.
_SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}


@contextmanager
def ray_session(address: str | None = None, cores: int | None = None, **settings: Any) -> Iterator[bool]:
    """Be connected to Ray for a while.

    A Ray that this process already uses is used and left alone.

    Parameters
    ----------
    address : str, optional
        A cluster's, such as ``ray://host:10001`` or ``host:6379``; without one, Ray runs on this machine only.
    cores : int, optional
        Cores of this machine that Ray may use; all by default.
    **settings
        Others of ``ray.init``, in place of what it is told here.

    Yields
    ------
    bool
        Whether this call connected, and will disconnect.

    Raises
    ------
    ConfigError
        If the cluster does not answer.
    """
    if ray.is_initialized():
        yield False
        return
    store = max(512 << 20, (cores or os.cpu_count() or 1) * _STORE_BYTES_PER_CORE)
    _connect(address, cores, store, otherwise="flower", **settings)
    try:
        yield True
    finally:
        ray.shutdown()


class RayConnection:
    """Ray with Ray Serve, for several users: the first one connects, the last one disconnects. Shared by threads.

    A Ray that this process was connected to before is used and left alone.

    Parameters
    ----------
    address : str, optional
        As of `ray_session`.
    cores : int, optional
        As of `ray_session`.
    store_bytes : int
        Of Ray's object store on this machine.
    """

    def __init__(self, address: str | None, cores: int | None, store_bytes: int) -> None:
        self._address = address
        self._cores = cores
        self._store_bytes = store_bytes
        self._users = 0
        self._owned = False
        self._lock = threading.Lock()

    def enter(self, connected: Callable[[], object] | None = None) -> None:
        """Be connected, with Ray Serve running but for its own HTTP proxy: requests come through our transports.

        Parameters
        ----------
        connected : callable, optional
            Called as soon as Ray has started in this process.

        Raises
        ------
        ConfigError
            If Ray does not start, or the cluster does not answer.
        """
        # Here, not above: simulations need no Ray Serve, which takes a second to import.
        from ray import serve

        with self._lock:
            if self._users == 0:
                self._owned = not ray.is_initialized()
                if self._owned:
                    _connect(self._address, self._cores, self._store_bytes, otherwise="local")
                    if connected is not None:
                        connected()
                # It tells of each deployment and replica on stderr, where our own log has a line of its own form.
                logging.getLogger("ray.serve").setLevel(logging.ERROR)
                let_threads_make_deployments()
                serve.start(proxy_location="Disabled", logging_config={"log_level": "ERROR"})
            self._users += 1

    def leave(self) -> None:
        """Need it no more."""
        from ray import serve

        with self._lock:
            self._users -= 1
            if self._users == 0 and self._owned:
                if self._address is None:
                    serve.shutdown()  # type: ignore[no-untyped-call]
                # On a cluster, others may be served by the same Ray Serve.
                ray.shutdown()


def let_threads_make_deployments() -> None:
    """Let several threads of this process make deployments at once, Ray Serve's own threads among them.

    Ray Serve notes the module of a policy in a table of the whole process while it pickles the policy, and takes it
    out again. Of two threads that do so, the second one finds it gone and raises ValueError, where all it wanted was
    that it be gone.
    """
    from ray import cloudpickle

    unregister = cloudpickle.unregister_pickle_by_value
    if getattr(unregister, "absent_is_fine", False):
        return

    def unregister_if_there(module: ModuleType) -> None:
        with suppress(ValueError, KeyError):
            unregister(module)  # type: ignore[no-untyped-call]

    unregister_if_there.absent_is_fine = True  # type: ignore[attr-defined]
    cloudpickle.unregister_pickle_by_value = unregister_if_there


@contextmanager
def quiet_ray(logs: bool = False) -> Iterator[None]:
    """Start Ray without notices and needless processes, and with workers that do not give way to everybody.

    Parameters
    ----------
    logs : bool
        Whether what workers print is to be gathered.
    """
    before = {name: os.environ.get(name) for name in _SETTINGS}
    os.environ.update({name: value for name, value in _SETTINGS.items() if name not in os.environ})
    try:
        with without_helpers(logs), waiting_for_nodes():
            yield
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


def _connect(address: str | None, cores: int | None, store_bytes: int, *, otherwise: str, **settings: Any) -> None:
    settings = {"log_to_driver": False, "logging_level": logging.CRITICAL, **settings}
    try:
        with quiet_ray(settings["log_to_driver"]):
            if address is None:
                # Else the Ray that somebody else runs here, or left a note of, is joined, which takes no such settings.
                local = {"object_store_memory": store_bytes, "include_dashboard": False, **settings}
                ray.init(address="local", num_cpus=cores, **local)
            else:
                ray.init(address=address, **settings)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster at {address} does not answer" if address else "Ray does not start on this machine"
        raise ConfigError(f"{where} ({error}); check the Ray address, or use --engine {otherwise}") from error
