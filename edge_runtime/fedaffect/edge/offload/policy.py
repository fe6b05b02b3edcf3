"""The small object that decides whether the cloud is asked, and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from threading import Lock
from time import monotonic

from fedaffect.edge.errors import unknown_name
from fedaffect.edge.offload.breaker import Circuit, CircuitBreaker
from fedaffect.edge.offload.budget import Budget
from fedaffect.edge.offload.config import PRIVACIES, OffloadConfig
from fedaffect.edge.offload.quantile import RunningQuantile
from fedaffect.edge.offload.reason import Decision, Reason


@dataclass(frozen=True, slots=True)
class OffloadState:
    """What a policy knows at one moment.

    Parameters
    ----------
    circuit : Circuit
        State of the breaker.
    round_trip_ms : float
        What the deadline must leave time for.
    round_trips : int
        Measured ones that this rests on.
    calls, request_bytes : int
        Spent in the last minute.
    """

    circuit: Circuit
    round_trip_ms: float
    round_trips: int
    calls: int
    request_bytes: int


class OffloadPolicy:
    """Answers locally unless unsure, allowed, in time, within budget, and the cloud seems well.

    A decision to ask spends its share of the budget and, half-open, the one probe at once, so that threads which
    decide at the same moment cannot overdraw. Whoever asked then reports exactly one of `succeeded`, `failed` and
    `abandoned`. Everything is timed by a monotonic clock: setting the device's date changes nothing.

    Parameters
    ----------
    config : OffloadConfig, optional
        Thresholds and limits.
    clock : callable
        Seconds that never go back.
    seed : int, optional
        Of the back-off's jitter.
    """

    def __init__(
        self, config: OffloadConfig | None = None, *, clock: Callable[[], float] = monotonic, seed: int | None = None
    ) -> None:
        self.config = config = config or OffloadConfig()
        self._lock = Lock()
        self._round_trip = RunningQuantile(
            config.round_trip_quantile, expected=config.expected_round_trip_ms, clock=clock
        )
        self._budget = Budget(config.calls_per_minute, config.bytes_per_minute, clock=clock)
        self._breaker = CircuitBreaker(config.breaker, clock=clock, seed=seed)

    def decide(
        self,
        confidence: float | None,
        *,
        modalities: Iterable[str],
        request_bytes: int,
        deadline_left_ms: float | None = None,
        privacy: str = "never",
        cloud: bool = True,
        threshold: float | None = None,
    ) -> Decision:
        """Whether to ask the cloud about one request.

        Parameters
        ----------
        confidence : float, optional
            Calibrated, of the local answer. Not-a-number counts as unsure; None where the device has no answer.
        modalities : iterable of str
            That the local answer rests on, or that there would be to ask with.
        request_bytes : int
            What asking would send.
        deadline_left_ms : float, optional
            Time until the app wants its answer; None where it waits as long as it takes.
        privacy : {"raw", "features", "never"}
            What may leave the device.
        cloud : bool
            Whether there is one to ask.
        threshold : float, optional
            Confidence below which the cloud is asked, of the bundle that answered; the configuration's if not given.

        Raises
        ------
        ConfigError
            If a modality or ``privacy`` is unknown.
        """
        threshold = self.config.threshold(modalities) if threshold is None else threshold
        if privacy not in PRIVACIES:
            raise unknown_name("privacy", privacy, PRIVACIES)
        if confidence is None:
            reason, unsure = Reason.NOTHING_USABLE, "the device can use nothing of it"
        elif confidence >= threshold:
            return _here(Reason.CONFIDENT, f"confidence {confidence:.3f} is not below the threshold {threshold:.3f}")
        else:
            reason, unsure = Reason.UNSURE, f"confidence {confidence:.3f} is below the threshold {threshold:.3f}"
        if not cloud:
            return _here(Reason.NO_CLOUD, f"{unsure}, but no cloud is configured")
        if privacy == "never":
            return _here(Reason.PRIVACY, f"{unsure}, but privacy 'never' lets nothing leave the device")
        with self._lock:
            return self._ask(reason, unsure, request_bytes, deadline_left_ms)

    def succeeded(self, round_trip_ms: float, request_bytes: int = 0) -> None:
        """Report that the cloud answered.

        Parameters
        ----------
        round_trip_ms : float
            From sending to the answer.
        request_bytes : int
            What was sent; already counted when it was decided.

        Raises
        ------
        ConfigError
            If the round trip is below 0 or not a number.
        """
        with self._lock:
            self._round_trip.add(round_trip_ms)
            self._breaker.succeeded()

    def failed(self, waited_ms: float | None = None) -> None:
        """Report that the cloud did not answer, or not sensibly.

        Parameters
        ----------
        waited_ms : float, optional
            For a call that ran out of time, how long that was: the round trip is at least so long.
        """
        with self._lock:
            # A wait below the estimate tells nothing: the answer might have come later still.
            if waited_ms is not None and waited_ms > self._round_trip.value():
                self._round_trip.add(waited_ms)
            self._breaker.failed()

    def abandoned(self) -> None:
        """Report that a call says nothing of the cloud's health: cancelled, or refused for its own fault."""
        with self._lock:
            self._breaker.abandoned()

    def state(self) -> OffloadState:
        """What it knows now."""
        with self._lock:
            calls, size = self._budget.spent()
            return OffloadState(self._breaker.circuit, self._round_trip.value(), len(self._round_trip), calls, size)

    def _ask(self, reason: Reason, unsure: str, request_bytes: int, deadline_left_ms: float | None) -> Decision:
        needed_ms = self._round_trip.value() + self.config.deadline_margin_ms
        # Written so that a deadline that is not a number leaves no time.
        if deadline_left_ms is not None and not deadline_left_ms >= needed_ms:
            return _here(
                Reason.DEADLINE, f"{unsure}, but {deadline_left_ms:.0f} ms are left and asking takes {needed_ms:.0f} ms"
            )
        if (shortage := self._budget.shortage(request_bytes)) is not None:
            return _here(Reason.BUDGET, f"{unsure}, but {shortage}")
        if not self._breaker.enter():
            if self._breaker.circuit is Circuit.HALF_OPEN:
                return _here(Reason.CIRCUIT_OPEN, f"{unsure}, but the cloud failed and one call is trying it now")
            wait_s = self._breaker.retry_after_s
            return _here(Reason.CIRCUIT_OPEN, f"{unsure}, but the cloud failed; it is tried again in {wait_s:.1f} s")
        self._budget.take(request_bytes)
        return Decision(True, reason, f"{unsure}, and asking takes some {needed_ms:.0f} ms")


def _here(reason: Reason, detail: str) -> Decision:
    return Decision(False, reason, detail)
