"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final
from weakref import WeakSet

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from fedaffect.server.exposition import Exposition
from fedaffect.server.serving.scheduling.batcher import Batcher

_SECONDS: Final = (0.002, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24)
_REQUESTS: Final = (1, 2, 4, 8, 16, 32, 64)


class Metrics(Exposition):
    """Counters and histograms of one server; several in one process do not share them."""

    def __init__(self) -> None:
        super().__init__()
        registry = self.registry
        calls = ("transport", "method")
        self.requests = Counter(
            "fedaffect_requests",
            "Requests answered, by transport, method and outcome",
            (*calls, "outcome"),
            registry=registry,
        )
        self.latency = Histogram(
            "fedaffect_request_seconds", "From arrival to answer", calls, buckets=_SECONDS, registry=registry
        )
        version = ("model_version",)
        self.queue = Histogram(
            "fedaffect_queue_seconds", "Waiting for the model", version, buckets=_SECONDS, registry=registry
        )
        self.compute = Histogram(
            "fedaffect_compute_seconds", "In the model", version, buckets=_SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "fedaffect_batch_size",
            "Requests in a batch, of models in this process",
            version,
            buckets=_REQUESTS,
            registry=registry,
        )
        self.refusals = Counter("fedaffect_refusals", "Requests refused, by reason", ("reason",), registry=registry)
        self.in_flight = Gauge("fedaffect_in_flight", "Requests being answered", registry=registry)
        self.streams = Gauge("fedaffect_streams", "Streams open", registry=registry)
        self.repeated = Counter("fedaffect_repeated", "Replies that came from memory", registry=registry)
        self._queues = _Queues()
        registry.register(self._queues)

    def watch_queue(self, queue: Batcher[Any, Any]) -> None:
        """Tell of one more queue, as long as it lives, whenever the metrics are read."""
        self._queues.watched.add(queue)


class _Queues(Collector):
    """Read when asked, so that the batcher need not know of metrics."""

    def __init__(self) -> None:
        self.watched: WeakSet[Batcher[Any, Any]] = WeakSet()

    def collect(self) -> Iterable[Metric]:
        queues = list(self.watched)
        for name, text, value in (
            ("queue_depth", "Requests waiting for the model", sum(len(queue) for queue in queues)),
            ("queue_wait_seconds", "How long a request that came now would wait", sum(q.wait_s for q in queues)),
            ("batch_budget", "Requests that a batch holds now, at most", sum(q.budget.size for q in queues)),
        ):
            yield GaugeMetricFamily(f"fedaffect_{name}", text, value)
