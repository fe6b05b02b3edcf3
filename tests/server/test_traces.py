"""One trace from a device to the fusion, and from a round to the devices that train; with nothing personal in it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from contextvars import Context
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.support.collector import collecting
from tests.support.fleet_runs import DeviceGrid, Fleet, a_fleet, device_grid, fleet_folder, grid, registry
from tests.support.media_files import tone
from tests.support.small_full_model import small_media_model

from fedaffect.edge.cloud import GrpcCloud, RestCloud
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Sample
from fedaffect.edge.system import tracing
from fedaffect.server.models.full_model.model import FullModel
from fedaffect.server.serving.app import background
from fedaffect.server.serving.engines.local_engine import LocalEngine

__all__ = ["a_fleet", "device_grid", "fleet_folder", "grid", "registry"]

WORDS = "what my grandmother Ottilie told me"
STAGES = ("prepare", "queue", "batch", "encode audio", "encode text", "fusion")


@pytest.mark.slow
@pytest.mark.parametrize("transport", ["rest", "grpc"])
def test_one_trace_from_the_device_to_the_fusion(
    transport: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = FullModel.load(small_media_model(tmp_path / "model"))
    said: list[str] = []
    outgoing = tracing.outgoing

    def noted() -> str:
        said.append(outgoing())
        return said[-1]

    monkeypatch.setattr(tracing, "outgoing", noted)
    with collecting(monkeypatch, "cloud") as found, background(LocalEngine(model)) as server:
        cloud = RestCloud(server.rest_url) if transport == "rest" else GrpcCloud(server.grpc_target)
        sample = Sample(id="Ottilie.wav", text=WORDS, audio=tone(1.0))
        cloud.predict(sample, request_id="a1", deadline_ms=600_000)
        cloud.close()
        httpx.get(f"{server.rest_url}/v1/models", headers={"traceparent": "Ottilie"}, timeout=60)
    (sent,) = said
    _, trace, device, _ = sent.split("-")
    root = found.one(f"{transport} predict")
    assert (root.trace, root.parent) == (trace, device)
    for name in STAGES:
        span = found.one(name)
        above = found.one("batch") if name.startswith(("encode", "fusion")) else root
        assert (span.trace, span.parent) == (trace, above.id), name
        assert above.begin <= span.begin <= span.end <= above.end + 1_000_000, name
    # What is no traceparent begins a trace of its own.
    other = found.one("rest models")
    assert (other.parent, other.trace == trace) == ("", False)
    assert not any(word in raw for raw in found.raw for word in (b"Ottilie", b"grandmother", b".wav", b"/tmp"))


@pytest.mark.slow
def test_one_trace_from_a_round_to_its_devices(
    a_fleet: Callable[..., Fleet], device_grid: DeviceGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet, reply = a_fleet(rounds=2), device_grid.reply
    # As in another process: nothing but the message tells a device of the round.
    monkeypatch.setattr(device_grid, "reply", lambda *given: Context().run(reply, *given))
    with collecting(monkeypatch, "aggregator") as found:
        fleet.resume(device_grid)
    rounds = found.by_name("round")
    assert [span.facts["round"] for span in rounds] == ["1", "2"]
    assert len({span.trace for span in rounds}) == 2
    for span in rounds:
        trained = [each for each in found.by_name("train") if each.trace == span.trace]
        asked = [name for name, state in fleet.who(int(span.facts["round"])).items() if state == "answered"]
        assert len(trained) == len(asked) > 0
        assert {each.parent for each in trained} == {span.id}
        assert all(each.facts == {"run": fleet.id, "round": span.facts["round"]} for each in trained)
        assert all(span.begin <= each.begin <= each.end <= span.end for each in trained)


def test_without_opentelemetrys_variables_nothing_is_written_or_imported() -> None:
    code = (
        "import sys\n"
        "from fedaffect.edge.system import tracing\n"
        "assert not tracing.write_traces('x')\n"
        "with tracing.span('x'): tracing.past('y', tracing.here(), 0, 1)\n"
        "one, two = tracing.outgoing(), tracing.outgoing()\n"
        "assert one != two and one.startswith('00-') and len(one) == 55\n"
        "tracing.arrived(one)\n"
        "assert tracing.outgoing() == one\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "/usr/bin"})


@pytest.mark.parametrize("variable", ["OTEL_SDK_DISABLED=true", "OTEL_TRACES_EXPORTER=none"])
def test_opentelemetrys_own_variables_turn_it_off(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(*variable.split("="))
    assert not tracing.write_traces("x")


def test_traces_without_their_packages_are_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"pip install 'fedaffect\[observe\]'"):
        tracing.write_traces("x")


@pytest.mark.parametrize("given", ["", "Ottilie", "00-" + "0" * 32 + "-" + "1" * 16 + "-01", "00-x-y-01\r\nset: 1"])
def test_what_is_no_traceparent_counts_as_none(given: str) -> None:
    tracing.arrived(given)
    assert given not in (said := tracing.outgoing()) or not given
    assert said.startswith("00-")


def test_a_spans_error_is_its_type_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> Any:
        raise ValueError("Ottilie")

    with collecting(monkeypatch, "x") as found, pytest.raises(ValueError), tracing.span("failing"):
        fail()
    assert found.one("failing").facts == {"error.type": "ValueError"}
    assert not any(b"Ottilie" in raw for raw in found.raw)
