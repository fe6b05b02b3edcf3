"""The fleet as the page shows it: devices, runs, rounds, bundles; labels and outcomes, never what devices hold."""

from __future__ import annotations

import math
import statistics
import threading
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeAlias, cast

from fedaffect.edge.errors import ConfigError, FedAffectError
from fedaffect.server.console.schemas import (
    BundleReply,
    DeviceReply,
    FleetReply,
    FleetRunReply,
    ParticipantReply,
    PlanReply,
    RolloutReply,
    RoundReply,
    RunReply,
)
from fedaffect.server.federation.run_folder import RunFolder
from fedaffect.server.federation.settings import OWN_EXAMPLES
from fedaffect.server.fleet.api.operator_client import Operator
from fedaffect.server.fleet.api.report import fleet_status, run_facts
from fedaffect.server.fleet.errors import FleetError
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, bundles, devices, models, participations, privacy, rounds, runs
from fedaffect.server.registry.participations import Tally
from fedaffect.server.registry.rounds import NO_ANSWER, Round

# Of a round; the most frequent ones.
_REASONS: Final = 8
# A device that takes so many times as long as the middle one of its round, and a second more, is a straggler.
_SLOW: Final = 2.0
_SLOW_S: Final = 1.0
_SERVICE_S: Final = 5.0
# The registry takes no others.
Outcome: TypeAlias = Literal["asked", "answered", "refused", "failed"]
Attempt: TypeAlias = Literal["open", "committed", "abandoned"]


class FleetView:
    """What the page shows of a fleet.

    Parameters
    ----------
    registry : Registry
        The fleet's.
    folder : FleetFolder, optional
        Of a fleet on this machine: its service says which devices are online, its run folders what a guard found.
    """

    def __init__(self, registry: Registry, folder: FleetFolder | None = None) -> None:
        self.registry = registry
        self.folder = folder
        self._operator: Operator | None = None
        self._lock = threading.Lock()

    def fleet(self) -> FleetReply:
        """Devices, runs, rollouts and bundles as they stand."""
        service, said = self._asked()
        known: dict[str, Any] = _finite(said or fleet_status(self.registry, None))
        driver = known["driver"] or {}
        problems = {"runs": driver["problem"]} if driver.get("problem") else driver.get("failures", {})
        online: dict[str, bool] = {}
        if said is not None and said["superlink"] == "answers":
            online = {each["id"]: each["online"] for each in said["devices"]}
        return FleetReply(
            registry=self.registry.name,
            service=service,
            problems=problems,
            devices=[
                DeviceReply(**{**_of(DeviceReply, each), "online": online.get(each["id"])}) for each in known["devices"]
            ],
            runs=[RunReply(**_of(RunReply, each)) for each in reversed(known["runs"])],
            rollouts=[RolloutReply(**_of(RolloutReply, each)) for each in known["rollouts"]],
            bundles=self._bundles(),
        )

    def _asked(self) -> tuple[Literal["answers", "does not answer", "not asked"], dict[str, Any] | None]:
        """What the fleet's service says, which knows who is online; None where it is not asked or does not answer."""
        if self.folder is None:
            return "not asked", None
        try:
            # One at a time: its connection is one.
            with self._lock:
                if self._operator is None:
                    self._operator = Operator.of(self.folder, timeout_s=_SERVICE_S)
                return "answers", self._operator.post("/v1/status")
        except (FleetError, ConfigError, OSError):
            # The registry knows all but who is online. The token may have been renewed.
            self._forget_service()
            return "does not answer", None

    def _forget_service(self) -> None:
        with self._lock:
            if self._operator is not None:
                self._operator.close()
                self._operator = None

    def close(self) -> None:
        """Close the connection to the fleet's service."""
        self._forget_service()

    def _bundles(self) -> list[BundleReply]:
        made = {model.version: model for model in models.every(self.registry)}
        replies = []
        for entry in reversed(bundles.every(self.registry)):
            model = made.get(entry.version)
            lineage = model.lineage if model else {}
            replies.append(
                BundleReply(
                    version=entry.version,
                    before=str(lineage.get("before", "")),
                    run=(model.run_id if model else None) or "",
                    round=model.round if model else None,
                    epsilon=_number(model.epsilon if model else None),
                    guard=_guard(lineage.get("guard", {})),
                    data_statement=model.data_statement if model else "",
                    created=entry.created,
                    offered=entry.offered,
                    megabytes=entry.size_bytes / 1e6,
                )
            )
        return replies

    def run(self, run_id: str) -> FleetRunReply:
        """A run with all its rounds.

        Raises
        ------
        UnknownRun
            If there is none of that id.
        """
        run = runs.get(self.registry, run_id)
        spent = self._spent(run_id)
        tallies = participations.tallies(self.registry, run_id)
        made = next((model for model in models.every(self.registry) if model.run_id == run_id), None)
        return FleetRunReply(
            run=RunReply(**_of(RunReply, _finite(run_facts(self.registry, run)))),
            started=run.started,
            finished=run.finished,
            plan=_plan(run.config),
            guard=self._guard(run_id, made),
            guard_allows=_number(run.config.get("guard-loss")),
            bundle=made.version if made else "",
            rounds=[
                _round(each, tallies.get((each.round, each.attempt)), _spent_by(spent, each.round))
                for each in rounds.of_run(self.registry, run_id)
            ],
        )

    def round(self, run_id: str, number: int, attempt: int) -> RoundReply | None:
        """One attempt at a round; None where there is none."""
        found = rounds.find(self.registry, run_id, number, attempt)
        if found is None:
            return None
        tally = participations.tallies(self.registry, run_id, number).get((number, attempt))
        return _round(found, tally, _spent_by(self._spent(run_id), number))

    def participants(self, run_id: str, number: int, attempt: int) -> list[ParticipantReply]:
        """Who took part in an attempt, and how.

        Raises
        ------
        UnknownRun
            If there is no such run.
        """
        runs.get(self.registry, run_id)
        named = {device.id: device for device in devices.every(self.registry)}
        found = participations.of_round(self.registry, run_id, number, attempt)
        times = [p.seconds for p in found if p.state == "answered" and p.seconds is not None]
        slow_s = max(_SLOW * statistics.median(times), statistics.median(times) + _SLOW_S) if times else math.inf
        return [
            ParticipantReply(
                device=p.slot.device_id,
                name=named[p.slot.device_id].name if p.slot.device_id in named else p.slot.device_id,
                group=named[p.slot.device_id].group if p.slot.device_id in named else "",
                labels=list(named[p.slot.device_id].labels) if p.slot.device_id in named else [],
                state=cast(Outcome, p.state),
                reason=p.reason,
                seconds=p.seconds,
                straggler=p.reason == NO_ANSWER or (p.seconds or 0.0) > slow_s,
                bytes_up=p.bytes_up,
                bytes_down=p.bytes_down,
            )
            for p in found
        ]

    def _spent(self, run_id: str) -> dict[int, float]:
        """The most that any device had spent after each round."""
        most: dict[int, float] = {}
        for charge in privacy.charges(self.registry, run_id=run_id):
            most[charge.round] = max(most.get(charge.round, 0.0), charge.epsilon)
        return most

    def _guard(self, run_id: str, made: models.Model | None) -> dict[str, list[float]]:
        """UAR before and after by corpus, of a bundle, or of a run that became none."""
        if made is not None:
            return _guard(made.lineage.get("guard", {}))
        if self.folder is None:
            return {}
        from fedaffect.server.federation.guard import guard_figures

        try:
            return _guard(guard_figures(RunFolder.open(self.folder.runs / run_id).summary()))
        except (FedAffectError, OSError):
            return {}


def _round(found: Round, tally: Tally | None, epsilon: float | None) -> RoundReply:
    reasons = sorted((tally.reasons if tally else {}).items(), key=lambda one: -one[1])
    metrics = _finite(dict(found.metrics))
    return RoundReply(
        round=found.round,
        attempt=found.attempt,
        state=cast(Attempt, found.state),
        reason=found.reason,
        started=found.started,
        finished=found.finished,
        seconds=(found.finished - found.started).total_seconds() if found.finished else None,
        train_loss=metrics.get("train_loss"),
        dev={name: value for name, value in (metrics.get("dev") or {}).items() if value is not None} or None,
        devices=dict(tally.states) if tally else {},
        late=tally.reasons.get(NO_ANSWER, 0) if tally else 0,
        reasons=dict(reasons[:_REASONS]),
        bytes_up=tally.bytes_up if tally else 0,
        bytes_down=tally.bytes_down if tally else 0,
        epsilon=_number(epsilon),
    )


def _spent_by(spent: Mapping[int, float], number: int) -> float | None:
    return max((epsilon for after, epsilon in spent.items() if after <= number), default=None)


def _plan(config: Mapping[str, Any]) -> PlanReply:
    dataset, noise = str(config.get("dataset", "")), str(config.get("dp", "none"))
    return PlanReply(
        learns="devices' own examples" if dataset == OWN_EXAMPLES else f"a benchmark over {dataset or 'a cohort'}",
        strategy=str(config.get("strategy", "")),
        privacy=noise,
        epsilon=_number(config.get("epsilon")) if noise != "none" else None,
        secure_sums=bool(config.get("secagg", False)),
        group=str(config.get("group", "")),
    )


def _of(kind: type[Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    return {name: facts[name] for name in kind.model_fields if name in facts}


def _number(value: Any) -> float | None:
    """A finite number; None for what is none, as JSON has no infinity."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _guard(figures: Mapping[str, Any]) -> dict[str, list[float]]:
    return {str(name): [float(each) for each in pair] for name, pair in figures.items()}


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return _number(value) if isinstance(value, float) else value
