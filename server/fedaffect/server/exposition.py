"""What a server's `/metrics` gives to Prometheus: its own figures, and those of its process."""

from __future__ import annotations

from importlib.metadata import version

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest


class Exposition:
    """The figures of one server; several in one process do not share them.

    Attributes
    ----------
    registry : CollectorRegistry
        For figures of its parts. It begins with the process's memory, processor time and files, and the version.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        built = Gauge("fedaffect_build_info", "1, by the version that runs", ("version",), registry=self.registry)
        built.labels(version("fedaffect")).set(1)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self.registry)
