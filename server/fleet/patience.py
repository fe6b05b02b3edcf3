"""Getting over a database that is away for a while."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from server.registry import RegistryUnavailable

logger = logging.getLogger("flwr")

_FIRST_S, _LONGEST_S = 0.2, 5.0
PATIENCE_S: Final = 600.0

T = TypeVar("T")


def patiently(
    act: Callable[[], T], patience_s: float = PATIENCE_S, recovered: Callable[[float], None] | None = None
) -> T:
    """Do something with the registry, again and again while its database is away.

    Everything that the registry does may be repeated: what was done already changes nothing.

    Parameters
    ----------
    act : callable
    patience_s : float
    recovered : callable, optional
        Told how many seconds the database was away, once it is back.

    Raises
    ------
    RegistryUnavailable
        If it is away for longer.
    """
    began = time.monotonic()
    pause_s = _FIRST_S
    away = False
    while True:
        try:
            done = act()
            if away and recovered is not None:
                recovered(time.monotonic() - began)
            return done
        except RegistryUnavailable as error:
            if time.monotonic() - began > patience_s:
                raise
            away = True
            logger.warning("%s", error)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)
