"""Traces: one id from a device through the cloud, and from a round to the device that trains.

The id travels as W3C's ``traceparent``, one line of text, for which a device needs no package. Spans are written where
OpenTelemetry is installed (``fedaffect[observe]``) and its own variables say where to send them
(``OTEL_EXPORTER_OTLP_ENDPOINT``); else every call here is a look at a variable. A span holds names and numbers that
this program chose: never words, media, names of files, people or devices, nor the messages of exceptions.
"""

from __future__ import annotations

import logging
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from importlib.metadata import version
from typing import Any, Final, TypeAlias

from fedaffect.edge.errors import ConfigError

HEADER: Final = "traceparent"
Fact: TypeAlias = "str | int | float | bool"

logger = logging.getLogger(__name__)

_FORM: Final = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_NOTHING: Final[AbstractContextManager[None]] = nullcontext()
# What a caller said; a request's own task has its own.
_came: ContextVar[str] = ContextVar("fedaffect-traceparent", default="")
_writer: Any = None


def outgoing() -> str:
    """A ``traceparent`` for a request: of the span that is open here, what came with the request, or a new one."""
    if _writer is not None and (here := _writer.here()):
        return str(here)
    return _came.get() or f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def arrived(traceparent: str | None) -> None:
    """Note what a caller sent; what is no ``traceparent`` counts as none."""
    _came.set(traceparent if traceparent is not None and _FORM.fullmatch(traceparent) else "")


def is_on() -> bool:
    """Whether spans are written."""
    return _writer is not None


def span(name: str, **facts: Fact) -> AbstractContextManager[Any]:
    """A span around a block, below the one that is open here or what `arrived`.

    Parameters
    ----------
    name : str
    **facts
        Numbers, and names that this program chose.
    """
    return _NOTHING if _writer is None else _writer.span(name, facts)


def here() -> Any:
    """What `past` takes as its parent, to be carried to another thread or task; None where nothing is written."""
    return None if _writer is None else _writer.context()


def past(name: str, parent: Any, started_s: float, ended_s: float, **facts: Fact) -> Any:
    """Write a span of something that is over.

    Parameters
    ----------
    name : str
    parent : object
        From `here`; where it is None, nothing is written.
    started_s, ended_s : float
        On the clock of ``time.monotonic``.
    **facts
        As of `span`.

    Returns
    -------
    object
        A parent for what happened within it.
    """
    return None if _writer is None or parent is None else _writer.past(name, parent, started_s, ended_s, facts)


def write_traces(service: str) -> bool:
    """Write spans from now on, if OpenTelemetry's variables ask for it; called once a process.

    Parameters
    ----------
    service : str
        What this process is, unless ``OTEL_SERVICE_NAME`` says otherwise.

    Raises
    ------
    ConfigError
        If they ask for it, and its packages are not here.
    """
    global _writer
    wanted = any(os.environ.get(name) for name in _ENDPOINTS) or os.environ.get("OTEL_TRACES_EXPORTER") == "otlp"
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    if not wanted or off or _writer is not None:
        return _writer is not None
    try:
        _writer = _Writer(service)
    except ImportError as error:
        raise ConfigError(
            f"OTEL_* asks for traces, and {error.name} is not installed: pip install 'fedaffect[observe]'"
        ) from error
    return True


def stop_writing() -> None:
    """Send what is left, and write no more."""
    global _writer
    if _writer is not None:
        _writer.close()
        _writer = None


class _Writer:
    """OpenTelemetry's SDK, as it is set by its own variables."""

    def __init__(self, service: str) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._propagator = TraceContextTextMapPropagator()
        named = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or service}
        # Not `Resource.create`: its detectors add the host's name and the command line.
        resource = Resource({**named, "service.version": version("fedaffect")})
        self._provider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("fedaffect", version("fedaffect"))
        self._epoch_s = time.time() - time.monotonic()

    def here(self) -> str:
        """The open span as a ``traceparent``; empty where none is."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get(HEADER, "")

    def context(self) -> Any:
        """The open span's context."""
        return self._trace.set_span_in_context(self._trace.get_current_span())

    def _parent(self) -> Any:
        """None where a span is open here, which is then the parent."""
        if self._trace.get_current_span().get_span_context().is_valid or not (came := _came.get()):
            return None
        return self._propagator.extract({HEADER: came})

    @contextmanager
    def span(self, name: str, facts: dict[str, Fact]) -> Iterator[Any]:
        opened = self._tracer.start_as_current_span(
            name,
            context=self._parent(),
            attributes=facts,
            # Libraries put what they were given into the messages of exceptions.
            record_exception=False,
            set_status_on_exception=False,
        )
        with opened as made:
            try:
                yield made
            except BaseException as error:
                made.set_attribute("error.type", type(error).__name__)
                made.set_status(self._trace.StatusCode.ERROR)
                raise

    def past(self, name: str, parent: Any, started_s: float, ended_s: float, facts: dict[str, Fact]) -> Any:
        made = self._tracer.start_span(name, parent, attributes=facts, start_time=self._nanoseconds(started_s))
        made.end(self._nanoseconds(ended_s))
        return self._trace.set_span_in_context(made)

    def _nanoseconds(self, monotonic_s: float) -> int:
        return int((self._epoch_s + monotonic_s) * 1e9)

    def close(self) -> None:
        self._provider.shutdown()
