"""A circuit breaker: stop asking a cloud that does not answer, and find out with one call at a time when it does."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from random import Random
from time import monotonic

from fedaffect.edge.errors import ConfigError


class Circuit(StrEnum):
    """Whether calls pass."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """When the circuit opens and for how long.

    Parameters
    ----------
    failures : int
        Failures in a row that open it.
    back_off_s : float
        How long it stays open the first time; doubles each time a probe fails.
    back_off_max_s : float
        Longest it stays open.
    jitter : float
        Share of that time, in [0, 1], that chance takes off, so that devices do not all come back at once.
    probe_timeout_s : float
        A probe of which nothing was heard for so long is given up, and the next call is the probe.
    """

    failures: int = 3
    back_off_s: float = 1.0
    back_off_max_s: float = 60.0
    jitter: float = 0.5
    probe_timeout_s: float = 30.0

    def __post_init__(self) -> None:
        if self.failures < 1:
            raise ConfigError(f"the circuit opens after 1 failure or more, not {self.failures}")
        if not 0 < self.back_off_s <= self.back_off_max_s < math.inf:
            raise ConfigError(
                f"back-off from {self.back_off_s} to {self.back_off_max_s} s makes no sense; "
                "choose 0 < back_off_s <= back_off_max_s"
            )
        if not 0 <= self.jitter <= 1:
            raise ConfigError(f"jitter is a share in [0, 1], not {self.jitter}")
        if not self.probe_timeout_s > 0:
            raise ConfigError(f"a probe is waited for longer than 0 s, not {self.probe_timeout_s}")


class CircuitBreaker:
    """Closed: calls pass. Open: none. Half-open, once the back-off is over: exactly one, whose outcome settles it.

    One thread at a time; `OffloadPolicy` holds the lock.

    Parameters
    ----------
    config : BreakerConfig
        When it opens and for how long.
    clock : callable
        Seconds that never go back.
    seed : int, optional
        Of the jitter; drawn by the operating system if not given.
    """

    def __init__(
        self, config: BreakerConfig | None = None, *, clock: Callable[[], float] = monotonic, seed: int | None = None
    ) -> None:
        self._config = config or BreakerConfig()
        self._clock = clock
        self._random = Random(seed)
        self._failures = 0  # in a row, while closed
        self._openings = 0  # in a row, without a success between them
        self._open_until: float | None = None  # None: closed
        self._probe_until: float | None = None  # None: no probe is under way

    @property
    def circuit(self) -> Circuit:
        """Its state now."""
        if self._open_until is None:
            return Circuit.CLOSED
        return Circuit.OPEN if self._clock() < self._open_until else Circuit.HALF_OPEN

    @property
    def retry_after_s(self) -> float:
        """Seconds until a probe may pass; 0 where calls may pass now."""
        if self._open_until is None:
            return 0.0
        return max(0.0, max(self._open_until, self._probe_until or self._open_until) - self._clock())

    @property
    def passes(self) -> bool:
        """Whether `enter` would let a call through."""
        if self.circuit is not Circuit.HALF_OPEN:
            return self.circuit is Circuit.CLOSED
        return self._probe_until is None or self._clock() >= self._probe_until

    def enter(self) -> bool:
        """Let a call through, or not. Half-open, the one that passes is the probe."""
        if not self.passes:
            return False
        if self.circuit is Circuit.HALF_OPEN:
            self._probe_until = self._clock() + self._config.probe_timeout_s
        return True

    def succeeded(self) -> None:
        """Count a success. While open it changes nothing: that call had begun before."""
        if self.circuit is not Circuit.OPEN:
            self._failures = self._openings = 0
            self._open_until = self._probe_until = None

    def failed(self) -> None:
        """Count a failure. While open it changes nothing, so that calls under way do not lengthen the back-off."""
        circuit = self.circuit
        if circuit is Circuit.OPEN:
            return
        self._failures += 1
        if circuit is Circuit.HALF_OPEN or self._failures >= self._config.failures:
            self._open()

    def abandoned(self) -> None:
        """A call ended without saying anything of the cloud: cancelled, or refused for its own fault."""
        self._probe_until = None

    def _open(self) -> None:
        # The exponent is capped, for 2.0 ** 1024 is no float.
        longest = min(self._config.back_off_s * 2.0 ** min(self._openings, 64), self._config.back_off_max_s)
        wait = longest * (1 - self._config.jitter * self._random.random())
        self._openings += 1
        self._failures = 0
        self._open_until, self._probe_until = self._clock() + wait, None
