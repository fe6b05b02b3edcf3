"""What the gate counts: requests, refusals, seconds and bytes, with no device, address or path of a caller in labels.

The gate's port is the devices', so nobody reads them there: the gate tells them at a private socket, and the service,
which asks who wants to know, adds them to its own `/metrics`.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

_REQUEST_S: Final = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
# Parts of Flower's SuperLink, by how the paths begin.
_APIS: Final = {b"/v1/fleet/": "fleet", b"/v1/runtime/": "runtime", b"/v1/control/": "control"}
_HEALTH: Final = b"/health"
# Of a request whose caller hung up before it was answered.
_GONE: Final = "gone"


@dataclass(slots=True)
class Served:
    """One request as it is answered.

    Parameters
    ----------
    status : int
        0 until there is one.
    sent_bytes : int
        Of the answer's body.
    """

    status: int = 0
    sent_bytes: int = 0


class GateMetrics:
    """Counters of one gate.

    Parameters
    ----------
    reasons : collection of str
        Why requests are refused; each is shown from the start, so that an alert sees the first time.
    waits : collection of bytes
        Paths of requests that are answered when there is something to say, whose seconds would tell nothing.
    """

    def __init__(self, reasons: Collection[str], waits: Collection[bytes] = ()) -> None:
        self._waits = frozenset(waits)
        made = self._registry = CollectorRegistry()
        ProcessCollector(namespace="fedaffect_gate", registry=made)
        self.requests = Counter(
            "fedaffect_gate_requests",
            "Requests that ended, by part of the SuperLink and status, gone where the caller hung up",
            ("api", "status"),
            registry=made,
        )
        self.open = Gauge("fedaffect_gate_requests_open", "Requests that are being served", ("api",), registry=made)
        self.refused = Counter(
            "fedaffect_gate_refused", "Requests that were refused, by why", ("reason",), registry=made
        )
        self.seconds = Histogram(
            "fedaffect_gate_request_seconds",
            "From a request's head to its answer's end, but for those that wait for something to happen",
            ("api",),
            buckets=_REQUEST_S,
            registry=made,
        )
        self.received = Counter(
            "fedaffect_gate_received_bytes", "Bytes of bodies of requests that were let in", ("api",), registry=made
        )
        self.sent = Counter("fedaffect_gate_sent_bytes", "Bytes of answers' bodies", ("api",), registry=made)
        for reason in reasons:
            self.refused.labels(reason)
        for api in _APIS.values():
            for family in (self.open, self.received, self.sent):
                family.labels(api)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)

    @contextmanager
    def request(self, raw_path: bytes) -> Iterator[Served]:
        """Count one request, from here to the end of the block."""
        api, served, began = api_of(raw_path), Served(), time.monotonic()
        with self.open.labels(api).track_inprogress():
            try:
                yield served
            finally:
                self.requests.labels(api, str(served.status or _GONE)).inc()
                self.sent.labels(api).inc(served.sent_bytes)
                if raw_path not in self._waits:
                    self.seconds.labels(api).observe(time.monotonic() - began)


def api_of(raw_path: bytes) -> str:
    """The part of the SuperLink that a path asks: ``fleet``, ``runtime``, ``control``, ``health`` or ``other``."""
    if raw_path == _HEALTH:
        return "health"
    return next((api for begins, api in _APIS.items() if raw_path.startswith(begins)), "other")
