"""Who may ask: API keys, their scopes, and how often each may."""

from __future__ import annotations

import asyncio
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cachetools import LRUCache

from fedaffect.server.errors import Forbidden, Overloaded, ServingError, Unauthenticated
from fedaffect.server.registry import Registry, RegistryUnavailable, api_keys
from fedaffect.server.registry.api_keys import ApiKey
from fedaffect.server.registry.key_hash import matches
from fedaffect.server.token_bucket import TokenBucket

# Whoever set the expiry, and who checks it, may have clocks that differ by so much.
CLOCK_SKEW: Final = timedelta(seconds=60)

_TOKEN: Final = re.compile(r"fa_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom a request counts against.

    Parameters
    ----------
    id : str
        Of the key; ``anonymous`` where none is wanted.
    requests_per_minute : int
    """

    id: str
    requests_per_minute: int


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """How long what is known about a key is believed.

    Parameters
    ----------
    fresh_s : float
        A revoked key is refused at most this much later.
    stale_s : float
        While the registry is away, keys that were good go on for so long.
    remembered : int
        Keys kept in memory; the one not used for longest is forgotten first.
    """

    fresh_s: float = 10.0
    stale_s: float = 300.0
    remembered: int = 4096


@dataclass(slots=True)
class _Known:
    """A key whose secret was once right."""

    key: ApiKey
    checked_s: float
    bucket: TokenBucket


class Access:
    """Checks keys against the registry; shared by threads.

    A key's row is believed for ``fresh_s``, then read again. A key is good until its expiry and :data:`CLOCK_SKEW`
    more. Wrong secrets for a key's id, which is no secret, cost its owner nothing.

    Parameters
    ----------
    registry : Registry
    config : AccessConfig
    clock : callable
        Seconds, monotonic.
    now : callable
        The wall clock, with time zone.
    """

    def __init__(
        self,
        registry: Registry,
        config: AccessConfig | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._registry = registry
        self._config = config or AccessConfig()
        self._clock = clock
        self._now = now
        self._known: LRUCache[str, _Known] = LRUCache(self._config.remembered)
        self._lock = threading.Lock()

    def configured(self) -> bool:
        """Whether any key is there that would be let in; without one a server belongs on loopback."""
        return any(self._refusal(key) is None for key in api_keys.every(self._registry))

    def check(self, token: str | None, scope: str) -> Caller:
        """Let a request in, and count it.

        Reads the registry where the key is not in memory: off the event loop then, see :meth:`acheck`.

        Parameters
        ----------
        token : str, optional
            What stands after ``Bearer`` in the request.
        scope : str
            What it wants to do.

        Raises
        ------
        Unauthenticated
            No key, or one that is unknown, revoked or expired.
        Forbidden
            The key lacks the scope.
        Overloaded
            Its requests of this minute are spent.
        RegistryUnavailable
            Nothing is known of the key and the registry is away.
        """
        key_id, secret = _parse(token)
        known = self._fresh(key_id, secret) or self._look_up(key_id, secret)
        return self._admit(known, scope)

    async def acheck(self, token: str | None, scope: str) -> Caller:
        """:meth:`check` from an event loop: at once where the key is in memory, else in a thread."""
        key_id, secret = _parse(token)
        known = self._fresh(key_id, secret)
        if known is None:
            known = await asyncio.to_thread(self._look_up, key_id, secret)
        return self._admit(known, scope)

    def _fresh(self, key_id: str, secret: str) -> _Known | None:
        with self._lock:
            known = self._known.get(key_id)
        if known is None or self._clock() - known.checked_s > self._config.fresh_s:
            return None
        if not matches(secret, known.key.secret_hash):
            raise Unauthenticated(_UNKNOWN)
        return known

    def _look_up(self, key_id: str, secret: str) -> _Known:
        with self._lock:
            known = self._known.get(key_id)
        try:
            key = api_keys.find(self._registry, key_id)
        except RegistryUnavailable:
            if (
                known is not None
                and self._clock() - known.checked_s <= self._config.stale_s
                and matches(secret, known.key.secret_hash)
            ):
                return known
            raise
        if key is None:
            with self._lock:
                self._known.pop(key_id, None)
            raise Unauthenticated(_UNKNOWN)
        if not matches(secret, key.secret_hash):
            raise Unauthenticated(_UNKNOWN)
        return self._remember(key)

    def _remember(self, key: ApiKey) -> _Known:
        with self._lock:
            before = self._known.get(key.id)
            same_rate = before is not None and before.key.requests_per_minute == key.requests_per_minute
            bucket = before.bucket if before and same_rate else TokenBucket(key.requests_per_minute, clock=self._clock)
            known = self._known[key.id] = _Known(key, self._clock(), bucket)
            return known

    def _admit(self, known: _Known, scope: str) -> Caller:
        refusal = self._refusal(known.key)
        if refusal is not None:
            raise refusal
        if scope not in known.key.scopes and "admin" not in known.key.scopes:
            raise Forbidden(f"key {known.key.id} lacks the scope {scope!r}; ask for a key with it")
        wait_s = known.bucket.take()
        if wait_s > 0:
            rate = known.key.requests_per_minute
            raise Overloaded(f"key {known.key.id} may send {rate} requests a minute; wait {wait_s:.1f} s", wait_s)
        return Caller(known.key.id, known.key.requests_per_minute)

    def _refusal(self, key: ApiKey) -> ServingError | None:
        if key.revoked is not None:
            return Unauthenticated(f"key {key.id} was revoked; ask for a new one")
        if key.expires is not None and self._now() > key.expires + CLOCK_SKEW:
            return Unauthenticated(f"key {key.id} expired at {key.expires:%Y-%m-%d %H:%M} UTC; ask for a new one")
        return None


_UNKNOWN: Final = "the key is not known here; check it, or ask for a new one"


def _parse(token: str | None) -> tuple[str, str]:
    if not token:
        raise Unauthenticated("no key was sent; send one as 'Authorization: Bearer fa_...'")
    parts = _TOKEN.fullmatch(token)
    if parts is None:
        raise Unauthenticated("this is no key of this server; one looks like fa_ID_SECRET, as it was shown once")
    return parts[1], parts[2]
