"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
_SIZES: Final = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """Counters and histograms of one server; several in one process do not share them.

    Attributes
    ----------
    registry : CollectorRegistry
        For collectors of other parts.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "fedaffect_requests",
            "Requests answered, by face, method and outcome",
            ("face", "method", "outcome"),
            registry=registry,
        )
        self.latency = Histogram(
            "fedaffect_request_seconds",
            "From arrival to answer",
            ("face", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue = Histogram("fedaffect_queue_seconds", "Waiting for the model", buckets=_SECONDS, registry=registry)
        self.compute = Histogram("fedaffect_compute_seconds", "In the model", buckets=_SECONDS, registry=registry)
        self.refusals = Counter("fedaffect_refusals", "Requests refused, by reason", ("reason",), registry=registry)
        self.batch_size = Histogram(
            "fedaffect_batch_size", "Requests computed together", buckets=_SIZES, registry=registry
        )
        self.in_flight = Gauge("fedaffect_in_flight", "Requests being answered", registry=registry)
        self.streams = Gauge("fedaffect_streams", "Streams open", registry=registry)
        self.repeated = Counter("fedaffect_repeated", "Replies that came from memory", registry=registry)

    def watch_queue(self, depth: Callable[[], float]) -> None:
        """Ask for the queue's depth whenever the metrics are read."""
        self.registry.register(_Depth(depth))

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)


class _Depth(Collector):
    def __init__(self, depth: Callable[[], float]) -> None:
        self._depth = depth

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("fedaffect_queue_depth", "Requests waiting for the model", self._depth())
