"""Whether the service can do its work now: registry, SuperLink, disk and driver, looked at seldom enough for anybody.

What is wrong is named without addresses: whoever reaches the service may ask. The log has the rest.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from fedaffect.edge.errors import FedAffectError
from fedaffect.edge.system.findings import room
from fedaffect.server.checks import certificate, tables
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.runs.driver_state import REGISTRY, DriverState
from fedaffect.server.registry import RegistryUnavailable

logger = logging.getLogger(__name__)

# Checkpoints, databases and logs of a fleet grow on this disk; a registry that cannot write loses a round.
LEAST_FREE_MB: Final = 256
_FRESH_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What was found at one look.

    Parameters
    ----------
    problems : dict of str to str
        By part: ``registry``, ``superlink``, ``disk``, ``certificate``, ``driver``; ``service`` before the first look
        is over. Empty where all is well.
    online : int or None
        Nodes that are online with Flower; None where the SuperLink does not answer.
    disk_free_bytes, disk_bytes : int
        Of the disk that the fleet's folder lies on.
    """

    problems: dict[str, str]
    online: int | None
    disk_free_bytes: int
    disk_bytes: int


class HealthCheck:
    """Looks at the parts, once within two seconds however many ask.

    Parameters
    ----------
    aggregator : Aggregator
    driver : callable
        Gives the driver's state; None where there is none.
    clock : callable, optional
        Seconds, monotonic.
    """

    def __init__(
        self,
        aggregator: Aggregator,
        driver: Callable[[], DriverState | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._aggregator = aggregator
        self._driver = driver
        self._clock = clock
        self._lock = threading.Lock()
        self._last: tuple[float, Health] | None = None

    def look(self) -> Health:
        """What is found now, or was at the last look: where that is two seconds old at most, or one is under way."""
        # Nobody waits for somebody else's look: forty who ask while the SuperLink is slow would hold all threads.
        if not self._lock.acquire(blocking=False):
            return self._last[1] if self._last else self._not_yet()
        try:
            if self._last is None or self._clock() - self._last[0] > _FRESH_S:
                before = self._last[1].problems if self._last else {}
                found = self._look()
                # When it ended: a look at what does not answer takes seconds.
                self._last = self._clock(), found
                for part, why in found.problems.items():
                    if before.get(part) != why:
                        logger.warning("not ready: %s", why)
            return self._last[1]
        finally:
            self._lock.release()

    def _not_yet(self) -> Health:
        disk = shutil.disk_usage(self._aggregator.folder.path)
        return Health(
            problems={"service": "the first look is under way"},
            online=None,
            disk_free_bytes=disk.free,
            disk_bytes=disk.total,
        )

    def _look(self) -> Health:
        problems = {"registry": self._registry(), "driver": self._driven()}
        online: int | None = None
        try:
            online = sum(state == "online" for state in self._aggregator.superlink.nodes().values())
        except FedAffectError:
            problems["superlink"] = "the SuperLink does not answer"
        folder = self._aggregator.folder
        disk = shutil.disk_usage(folder.path)
        for part, found in (
            ("disk", room(folder.path, "the fleet", LEAST_FREE_MB)),
            ("certificate", certificate(folder.certificate_path, "the server's certificate", "")),
        ):
            if found.state == "missing":
                problems[part] = f"{found.what}: {found.says}"
        return Health(
            problems={part: why for part, why in problems.items() if why},
            online=online,
            disk_free_bytes=disk.free,
            disk_bytes=disk.total,
        )

    def _registry(self) -> str:
        try:
            found = tables(self._aggregator.registry)
        except RegistryUnavailable:
            return "the registry does not answer"
        return "" if found.state == "good" else f"the registry {found.says}"

    def _driven(self) -> str:
        state = self._driver()
        # What the registry does is said above, and its text there names the database.
        return "" if state is None or (state.alive and REGISTRY in state.failures) else state.problem
