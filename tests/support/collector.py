"""A collector of traces: OTLP over HTTP on a port of this machine, as OpenTelemetry's own takes it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from fedaffect.edge.system import tracing


@dataclass(frozen=True)
class Seen:
    """One span.

    Parameters
    ----------
    name, service, trace, id, parent : str
    facts : dict
    """

    name: str
    service: str
    trace: str
    id: str
    parent: str
    facts: dict[str, str]
    begin: int
    end: int


@dataclass
class Collector:
    """What came."""

    spans: list[Seen] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def by_name(self, name: str) -> list[Seen]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Seen:
        (span,) = self.by_name(name)
        return span

    def take(self, body: bytes) -> None:
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.append(
                        Seen(
                            span.name,
                            named["service.name"],
                            span.trace_id.hex(),
                            span.span_id.hex(),
                            span.parent_span_id.hex(),
                            {each.key: str(_value(each.value)) for each in span.attributes},
                            span.start_time_unix_nano,
                            span.end_time_unix_nano,
                        )
                    )


def _value(said: Any) -> Any:
    return getattr(said, said.WhichOneof("value"))


@contextmanager
def collecting(monkeypatch: pytest.MonkeyPatch, service: str) -> Iterator[Collector]:
    """Write traces in this process to a collector; ends them, so that all have come afterwards."""
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs fedaffect[observe]")
    found = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_address[1]}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    assert tracing.write_traces(service)
    try:
        yield found
    finally:
        tracing.stop_writing()
        server.shutdown()
        server.server_close()
