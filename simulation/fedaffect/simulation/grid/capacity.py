"""How many workers a Ray has room for, and how many now."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping

import ray

from fedaffect.edge.errors import ConfigError

logger = logging.getLogger(__name__)

_ROUNDING = 1e-6
_FIRST_WORD_S, _NEXT_WORD_S = 3.0, 60.0


def actors_on(resources: Mapping[str, float], cpus: float, gpus: float) -> int:
    """How many actors a machine with these resources has room for.

    Parameters
    ----------
    resources : mapping of str to float
        ``CPU`` and ``GPU``.
    cpus, gpus : float
        What one actor takes. Ray cuts each GPU for itself: two of them have room for four actors of 0.4, not five.
    """
    limits = [resources.get("CPU", 0.0) / cpus] if cpus else []
    if gpus:
        devices = resources.get("GPU", 0.0)
        limits.append(
            devices / gpus if gpus >= 1 else math.floor(devices + _ROUNDING) * math.floor(1 / gpus + _ROUNDING)
        )
    return int(min(limits) + _ROUNDING)


def actors_that_fit(wanted: int | None, cpus: float, gpus: float) -> int:
    """How many actors the connected Ray has room for, once nobody else uses it.

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
    nodes = [node for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    room = sum(actors_on(node["Resources"], cpus, gpus) for node in nodes)
    if room < max(1, wanted or 1):
        raise ConfigError(
            f"Ray has room for {room} actors of {share(cpus, gpus)} each, not {wanted or 1}; ask for fewer or smaller"
        )
    return wanted or room


class Room:
    """Says what a run waits for while none of its workers can start.

    Parameters
    ----------
    cpus, gpus : float
        What one worker takes.
    """

    def __init__(self, cpus: float, gpus: float) -> None:
        self._share = (cpus, gpus)
        # Asked before there is any worker of ours: later our own, which start, hold what seems to be taken.
        free: Mapping[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        self._full = actors_on(free, cpus, gpus) < 1
        self._since = self._said = time.monotonic()

    def note(self, ready: int) -> None:
        """Look at how many workers can work; where none can for long, say so, again every minute."""
        now = time.monotonic()
        if ready:
            self._full, self._since = False, now
            return
        quiet_s = _FIRST_WORD_S if self._full else _NEXT_WORD_S
        if now - max(self._since, self._said) < quiet_s:
            return
        self._full, self._said = False, now
        logger.warning("waiting for Ray: %s; the run goes on as soon as others end or a node joins", self._free())

    def _free(self) -> str:
        free: Mapping[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
        there: Mapping[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        kinds = ["CPU"] + (["GPU"] if self._share[1] else [])
        said = " and ".join(f"{free.get(kind, 0.0):g} of {there.get(kind, 0.0):g} {kind}s are free" for kind in kinds)
        return f"a worker needs {share(*self._share)}, and {said}"


def share(cpus: float, gpus: float) -> str:
    """``1 CPU and 0.5 GPU``."""
    return f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
