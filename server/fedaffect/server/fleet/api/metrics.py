"""What Prometheus reads of a fleet at the service's `/metrics`: no device and no caller in labels, but regions.

Rounds are driven by other processes, the ServerApps of the runs. All that they do goes through the registry, whose
audit log has no gaps, so it is followed here: counters count what was written since this process began. What is,
rather than happened, is asked from the registry whenever the metrics are read. Only open runs have a label with their
name, for there are few of them. What the gate counts is added as it tells it.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fedaffect.server.checks import validity
from fedaffect.server.exposition import Exposition
from fedaffect.server.fleet.api.aggregator import Aggregator
from fedaffect.server.fleet.api.health import HealthCheck
from fedaffect.server.fleet.runs.driver_state import DriverState
from fedaffect.server.fleet.setup.private_socket import heard_at
from fedaffect.server.registry import RegistryUnavailable, audit, devices, participations, rollouts, rounds, runs
from fedaffect.server.registry.audit import Entry
from fedaffect.server.registry.figures import SpentPrivacy, of_devices, of_runs

_ROUND_S: Final = (1, 2, 5, 10, 20, 40, 80, 160, 320, 640, 1280, 3600)
_REQUEST_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_HEARD_S: Final = {"5m": 300.0, "1h": 3600.0, "1d": 86_400.0}
_STATUSES: Final = ("enrolled", "waiting", "revoked")
_RUN_STATES: Final = ("open", "finished", "failed", "cancelled")
_ROLLOUT_STATES: Final = ("staged", "complete", "rolled-back")
_OUTCOMES: Final = ("answered", "refused", "failed", "no-answer")
# Why an update is not counted, by the rule that the audit log names; what has none could not be read.
_RULES: Final = {
    "DuplicateUpdate": "duplicate",
    "WrongRound": "wrong-round",
    "WrongModel": "wrong-model",
    "NotAsked": "not-asked",
    "DeviceRefused": "revoked",
}
_INVALID: Final = "invalid"
# The names of actions stand in this program's code, so there are few; a database may have been written by another.
_ACTION: Final = re.compile(r"[a-z]+\.[a-z-]{1,40}")
_AT_ONCE: Final = 1000


class FleetMetrics(Exposition):
    """Counters, histograms and gauges of a fleet.

    Parameters
    ----------
    aggregator : Aggregator
    health : HealthCheck
    driver : callable
        Gives the driver's state; None where there is none.
    """

    def __init__(self, aggregator: Aggregator, health: HealthCheck, driver: Callable[[], DriverState | None]) -> None:
        super().__init__()
        made = self.registry
        self._aggregator = aggregator
        self._reading = threading.Lock()
        self._seen = _head(aggregator)
        self.requests = Counter(
            "fedaffect_fleet_requests", "Requests answered, by route and status", ("route", "status"), registry=made
        )
        self.latency = Histogram(
            "fedaffect_fleet_request_seconds",
            "From a request's head to its answer's end",
            ("route",),
            buckets=_REQUEST_S,
            registry=made,
        )
        self.sent = Counter(
            "fedaffect_fleet_sent_bytes", "Bytes of answers, bundles among them, by route", ("route",), registry=made
        )
        self.entries = Counter(
            "fedaffect_fleet_audit_entries", "Entries of the audit log, by action", ("action",), registry=made
        )
        self.rounds = Counter(
            "fedaffect_fleet_rounds", "Attempts at rounds that ended, by outcome", ("outcome",), registry=made
        )
        self.round_seconds = Histogram(
            "fedaffect_fleet_round_seconds",
            "From an attempt's begin to its end",
            ("outcome",),
            buckets=_ROUND_S,
            registry=made,
        )
        self.updates = Counter(
            "fedaffect_fleet_updates",
            "What devices that were asked did, once the attempt ended: answered, refused (which is no failure), "
            "failed, no-answer",
            ("outcome",),
            registry=made,
        )
        self.rejected = Counter(
            "fedaffect_fleet_updates_rejected",
            "Updates that came and were not counted, by why",
            ("reason",),
            registry=made,
        )
        self.learned = Counter(
            "fedaffect_fleet_update_bytes",
            "Bytes of messages of rounds that ended, from devices (up) and to them (down)",
            ("direction",),
            registry=made,
        )
        self.gate_up = Gauge("fedaffect_fleet_gate_up", "1 where the gate tells its figures", registry=made)
        self.orders = Counter(
            "fedaffect_fleet_orders",
            "Of a region: orders of its root that it answered with a sum, or failed to",
            ("outcome",),
            registry=made,
        )
        self.order_devices = Counter(
            "fedaffect_fleet_order_devices",
            "Of a region: devices that orders asked, by whether they are in the sum",
            ("outcome",),
            registry=made,
        )
        self.order_seconds = Histogram(
            "fedaffect_fleet_order_seconds",
            "Of a region: from an order to its sum",
            buckets=_ROUND_S,
            registry=made,
        )
        # What has never happened is 0 and not missing, so that an alert sees the first time.
        for outcome in ("committed", "abandoned"):
            self.rounds.labels(outcome)
        for outcome in _OUTCOMES:
            self.updates.labels(outcome)
        for reason in (*_RULES.values(), _INVALID):
            self.rejected.labels(reason)
        for direction in ("up", "down"):
            self.learned.labels(direction)
        for outcome in ("summed", "failed"):
            self.orders.labels(outcome)
        for outcome in ("summed", "missing"):
            self.order_devices.labels(outcome)
        made.register(_Now(aggregator, health, driver))

    def text(self) -> bytes:
        """All of them in Prometheus' text format, up to now."""
        with self._reading:
            # While the registry is away `fedaffect_fleet_up` says so, and what is missed is counted later.
            with suppress(RegistryUnavailable):
                self._follow()
            of_gate = heard_at(self._aggregator.folder.gate_figures)
            self.gate_up.set(of_gate is not None)
            # Their names are the gate's own.
            return super().text() + (of_gate or b"")

    def _follow(self) -> None:
        registry = self._aggregator.registry
        if self._seen is None:
            self._seen = audit.head(registry).id
        while found := audit.after(registry, self._seen, _AT_ONCE):
            for entry in found:
                self._count(entry)
                self._seen = entry.id

    def _count(self, entry: Entry) -> None:
        self.entries.labels(entry.action if _ACTION.fullmatch(entry.action) else "other").inc()
        if entry.action in ("round.committed", "round.abandoned"):
            self._count_round(entry)
        elif entry.action == "order.answered":
            self._count_order(json.loads(entry.details))
        elif entry.action == "update.refused":
            self.rejected.labels(_RULES.get(json.loads(entry.details).get("rule"), _INVALID)).inc()

    def _count_order(self, facts: dict[str, Any]) -> None:
        summed = facts.get("outcome") == "summed"
        self.orders.labels("summed" if summed else "failed").inc()
        if summed:
            self.order_devices.labels("summed").inc(facts["devices"])
            self.order_devices.labels("missing").inc(facts["asked"] - facts["devices"])
            self.order_seconds.observe(facts["seconds"])

    def _count_round(self, entry: Entry) -> None:
        run_id, number, attempt = entry.subject.rsplit("/", 2)
        slot = int(number), int(attempt)
        outcome = entry.action.removeprefix("round.")
        ended = rounds.find(self._aggregator.registry, run_id, *slot)
        tally = participations.tallies(self._aggregator.registry, run_id, slot[0]).get(slot)
        self.rounds.labels(outcome).inc()
        if ended is not None and ended.finished is not None:
            self.round_seconds.labels(outcome).observe((ended.finished - ended.started).total_seconds())
        if tally is None:
            return
        silent = tally.reasons.get(rounds.NO_ANSWER, 0)
        for state, count in tally.states.items():
            if state in _OUTCOMES:
                self.updates.labels(state).inc(count - (silent if state == "failed" else 0))
        self.updates.labels("no-answer").inc(silent)
        self.learned.labels("up").inc(tally.bytes_up)
        self.learned.labels("down").inc(tally.bytes_down)


def _head(aggregator: Aggregator) -> int | None:
    try:
        return audit.head(aggregator.registry).id
    except RegistryUnavailable:
        return None


class _Now(Collector):
    """What is, read when asked."""

    def __init__(self, aggregator: Aggregator, health: HealthCheck, driver: Callable[[], DriverState | None]) -> None:
        self._aggregator = aggregator
        self._health = health
        self._driver = driver
        self._spent = SpentPrivacy()

    def describe(self) -> Iterable[Metric]:
        """Nothing: the names are this module's own, and asking for them would ask the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """All gauges; without the registry, those that do not come from there."""
        health = self._health.look()
        parts = ("registry", "superlink", "disk", "driver")
        up = GaugeMetricFamily("fedaffect_fleet_up", "1 where a part of the fleet does its work", labels=["part"])
        for part in parts:
            up.add_metric([part], float(part not in health.problems))
        yield up
        yield _gauge("disk_free_bytes", "Left on the disk of the fleet's folder", health.disk_free_bytes)
        yield _gauge("disk_bytes", "Size of the disk of the fleet's folder", health.disk_bytes)
        yield _gauge("devices_online", "Nodes connected to the SuperLink", health.online)
        yield from self._certificates()
        driver = self._driver()
        for name, text, value in (
            ("idle_seconds", "Since the driver of runs last looked at all", driver.looked_s_ago if driver else None),
            ("failing", "Devices and runs that fail now", len(driver.failures) if driver else None),
            ("restarts", "How often the driver's thread was started again", driver.restarts if driver else None),
        ):
            yield _gauge(f"driver_{name}", text, value)
        try:
            yield from [*self._devices(), *self._runs(), *self._privacy(), *self._rollouts()]
        except RegistryUnavailable:
            return

    def _certificates(self) -> Iterator[Metric]:
        folder = self._aggregator.folder
        until = GaugeMetricFamily(
            "fedaffect_fleet_certificate_expiry_timestamp_seconds", "When a certificate ends", labels=["certificate"]
        )
        for name, path in (("server", folder.certificate_path), ("authority", folder.authority.certificate_path)):
            if (moment := _end_of(path)) is not None:
                until.add_metric([name], moment)
        yield until

    def _devices(self) -> Iterator[Metric]:
        found = of_devices(self._aggregator.registry, tuple(_HEARD_S.values()))
        status = GaugeMetricFamily("fedaffect_fleet_devices", "Devices, by status", labels=["status"])
        for name in _STATUSES:
            status.add_metric([name], found.by_status.get(name, 0))
        yield status
        heard = GaugeMetricFamily("fedaffect_fleet_devices_heard", "Devices heard of within a time", labels=["within"])
        for name, age in _HEARD_S.items():
            heard.add_metric([name], found.heard[age])
        yield heard
        regions = GaugeMetricFamily(
            "fedaffect_fleet_region_devices", "Of a root: what its regions say they have", labels=["region", "state"]
        )
        for device in devices.every(self._aggregator.registry):
            if device.status == "enrolled" and device.region is not None:
                for state, said in (("enrolled", "devices"), ("online", "online")):
                    regions.add_metric([device.name, state], device.region.get(said, 0))
        yield regions
        yield _gauge("devices_consenting", "Enrolled devices whose users agree to learning", found.consenting)

    def _runs(self) -> Iterator[Metric]:
        registry = self._aggregator.registry
        states = of_runs(registry)
        by_state = GaugeMetricFamily("fedaffect_fleet_runs", "Runs, by state", labels=["state"])
        for state in _RUN_STATES:
            by_state.add_metric([state], states.get(state, 0))
        yield by_state
        committed = GaugeMetricFamily("fedaffect_fleet_run_rounds_committed", "Of an open run", labels=["run"])
        wanted = GaugeMetricFamily("fedaffect_fleet_run_rounds_wanted", "Of an open run", labels=["run"])
        budget = GaugeMetricFamily("fedaffect_fleet_run_epsilon_budget", "ε that an open run may cost", labels=["run"])
        for run in runs.every(registry, "open"):
            last = rounds.last_committed(registry, run.id)
            committed.add_metric([run.id], last.round if last else 0)
            wanted.add_metric([run.id], int(run.config.get("rounds", 0)))
            if run.config.get("dp") and (epsilon := _number(run.config.get("epsilon"))) is not None:
                budget.add_metric([run.id], epsilon)
        yield from (committed, wanted, budget)
        asked = GaugeMetricFamily(
            "fedaffect_fleet_open_round_devices",
            "Devices in open attempts at rounds, by what they did",
            labels=["state"],
        )
        states_now = dict.fromkeys(("asked", "answered", "refused", "failed"), 0)
        for attempt in rounds.under_way(registry):
            tally = participations.tallies(registry, attempt.run_id, attempt.round).get(
                (attempt.round, attempt.attempt)
            )
            for state, count in (tally.states if tally else {}).items():
                states_now[state] = states_now.get(state, 0) + count
        for state, count in states_now.items():
            asked.add_metric([state], count)
        yield asked

    def _privacy(self) -> Iterator[Metric]:
        registry = self._aggregator.registry
        self._spent.look(registry)
        of_run = GaugeMetricFamily(
            "fedaffect_fleet_run_epsilon_spent",
            "Largest recorded ε of an open run: the run's with central noise, a device's lifetime's with its own",
            labels=["run"],
        )
        for run in runs.every(registry, "open"):
            if run.id in self._spent.by_run:
                of_run.add_metric([run.id], self._spent.by_run[run.id])
        yield of_run
        of_devices = GaugeMetricFamily(
            "fedaffect_fleet_device_epsilon", "Lifetime ε of devices that spent any, by quantile", labels=["quantile"]
        )
        for quantile, epsilon in _quantiles(list(self._spent.by_device.values())).items():
            of_devices.add_metric([quantile], epsilon)
        yield of_devices
        yield _gauge("devices_charged", "Devices that spent privacy", len(self._spent.by_device))

    def _rollouts(self) -> Iterator[Metric]:
        found = rollouts.every(self._aggregator.registry)
        by_state = GaugeMetricFamily("fedaffect_fleet_rollouts", "Rollouts of bundles, by state", labels=["state"])
        for state in _ROLLOUT_STATES:
            by_state.add_metric([state], sum(rollout.state == state for rollout in found))
        yield by_state
        staged = next((rollout for rollout in found if rollout.state == "staged"), None)
        reports = GaugeMetricFamily(
            "fedaffect_fleet_rollout_devices", "Devices that compared the staged bundle, by result", labels=["result"]
        )
        if staged is not None:
            for result, count in (("all", staged.reports), ("better", staged.better), ("worse", staged.worse)):
                reports.add_metric([result], count)
        yield reports
        share = staged.percent / 100 if staged else None
        yield _gauge("rollout_ratio", "Share of devices that get the staged bundle, 0 to 1", share)
        change = staged.change if staged else None
        yield _gauge("rollout_metric_change", "Mean change of the devices' own figures by the staged bundle", change)


def _gauge(name: str, text: str, value: float | None) -> Metric:
    """One figure; named and described, but without a value, where there is none now."""
    return GaugeMetricFamily(f"fedaffect_fleet_{name}", text, value)


def _number(said: Any) -> float | None:
    try:
        return float(said)
    except (TypeError, ValueError):
        return None


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    # Of one device alone all are its own; the operator, whose figures these are, sees it by name elsewhere.
    cuts = quantiles(values, n=10, method="inclusive") if len(values) > 1 else values * 9
    return {"0.5": cuts[4], "0.9": cuts[8], "1": max(values)}


def _end_of(path: Path) -> float | None:
    try:
        return validity(path)[1].timestamp()
    except (OSError, ValueError):
        return None


class MeasuredRequests:
    """Counts requests by their route, so that no path that a caller makes up becomes a label.

    Parameters
    ----------
    app : ASGI app
    metrics : FleetMetrics
    """

    def __init__(self, app: ASGIApp, metrics: FleetMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, sent = time.monotonic(), 500, 0

        async def watched(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
            sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.latency.labels(route).observe(time.monotonic() - began)
            self._metrics.sent.labels(route).inc(sent)
