"""Starting, joining and leaving Ray."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from fedaffect.edge.errors import ConfigError

# Replies are fetched as they come, so that little waits in the store at any time.
_STORE_BYTES_PER_CORE = 192 << 20
# Ray gives way to every other process of a machine (niceness 15), which is not what one waits for.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}


@contextmanager
def ray_session(address: str | None = None, cores: int | None = None) -> Iterator[bool]:
    """Be connected to Ray for a while.

    A Ray that this process already uses is used and left alone.

    Parameters
    ----------
    address : str, optional
        A cluster's, such as ``ray://host:10001`` or ``host:6379``; without one, Ray runs on this machine only.
    cores : int, optional
        Cores of this machine that Ray may use; all by default.

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
    with quiet_ray():
        _connect(address, cores)
    try:
        yield True
    finally:
        ray.shutdown()


@contextmanager
def quiet_ray() -> Iterator[None]:
    """Start Ray without statistics and notices, and with workers that do not give way to everybody."""
    with _environment({name: value for name, value in _SETTINGS.items() if name not in os.environ}):
        yield


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _connect(address: str | None, cores: int | None) -> None:
    try:
        if address is None:
            store = max(512 << 20, (cores or os.cpu_count() or 1) * _STORE_BYTES_PER_CORE)
            ray.init(
                num_cpus=cores,
                object_store_memory=store,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
        else:
            ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
    except (ConnectionError, RuntimeError, ValueError) as error:
        where = f"the Ray cluster at {address} does not answer" if address else "Ray does not start on this machine"
        raise ConfigError(f"{where} ({error}); check the Ray address, or use --engine flower") from error


def actors_that_fit(wanted: int | None, cpus: float, gpus: float) -> int:
    """How many actors the connected Ray has room for.

    Parameters
    ----------
    wanted : int, optional
        Asked for; as many as fit by default.
    cpus, gpus : float
        What one actor takes.

    Raises
    ------
    ConfigError
        If not even one fits, or fewer than were asked for.
    """
    room = 0
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if not node["Alive"]:
            continue
        resources = node["Resources"]
        limits = [resources.get("CPU", 0.0) / cpus] if cpus else []
        limits += [resources.get("GPU", 0.0) / gpus] if gpus else []
        room += int(min(limits) + 1e-6)
    if room < max(1, wanted or 1):
        share = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        raise ConfigError(
            f"Ray has room for {room} actors of {share} each, not {wanted or 1}; ask for fewer or smaller"
        )
    return wanted or room
