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


def patiently(act: Callable[[], T], patience_s: float = PATIENCE_S) -> T:
    """Do something with the registry, again and again while its database is away.

    Everything that the registry does may be repeated: what was done already changes nothing.

    Parameters
    ----------
    act : callable
    patience_s : float

    Raises
    ------
    RegistryUnavailable
        If it is away for longer.
    """
    until = time.monotonic() + patience_s
    pause_s = _FIRST_S
    while True:
        try:
            return act()
        except RegistryUnavailable as error:
            if time.monotonic() > until:
                raise
            logger.warning("%s", error)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_S)
