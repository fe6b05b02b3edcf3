"""Which SuperNodes may use the Fleet API: those that sign with a key of an enrolled device that is not revoked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Final

from fedaffect.server.flower_compat.node_identity import signing_key
from fedaffect.server.registry import Registry, RegistryUnavailable, keys

logger = logging.getLogger(__name__)

# So long after a revocation at most, the gate still lets a node reach the SuperLink, which checks by itself.
_KNOWN_S: Final = 1.0


class Verdict(Enum):
    """What the gate makes of a request to the Fleet API; the value goes to the audit log."""

    ADMITTED = ""
    UNSIGNED = "no signature that holds: no node's, or of a clock that is off"
    UNKNOWN = "unknown or revoked key"
    AWAY = "the registry is away, and the key was not seen before"


class NodeAccess:
    """Asks the registry, and remembers for a second what it said.

    While the registry's database is away, nodes go on that were admitted before: a round must get over an outage, and
    no update counts before the registry has recorded it.

    Parameters
    ----------
    open_registry : callable
        Opens the registry; called from a thread, and again until it succeeds.
    clock : callable, optional
        Seconds that only grow.
    """

    def __init__(self, open_registry: Callable[[], Registry], clock: Callable[[], float] = time.monotonic) -> None:
        self._open_registry = open_registry
        self._registry: Registry | None = None
        self._clock = clock
        # By public key, when the registry last admitted it; no more than there are devices.
        self._admitted: dict[str, float] = {}

    @classmethod
    def to(cls, registry_url: str) -> NodeAccess:
        """Access by the registry at a URL."""
        return cls(lambda: Registry.open(registry_url))

    async def check(self, headers: Mapping[str, str]) -> Verdict:
        """What to do with a request that has these headers, names in lower case."""
        key = signing_key(headers)
        if key is None:
            return Verdict.UNSIGNED
        if self._clock() - self._admitted.get(key, -_KNOWN_S) < _KNOWN_S:
            return Verdict.ADMITTED
        return await asyncio.to_thread(self._ask, key)

    def _ask(self, key: str) -> Verdict:
        try:
            self._registry = self._registry or self._open_registry()
            counts = keys.counts_now(self._registry, "device", key)
        except RegistryUnavailable as error:
            logger.warning("%s", error)
            return Verdict.ADMITTED if key in self._admitted else Verdict.AWAY
        if not counts:
            self._admitted.pop(key, None)
            return Verdict.UNKNOWN
        self._admitted[key] = self._clock()
        return Verdict.ADMITTED
