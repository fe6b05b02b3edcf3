"""What the service does: each method is one change of registry and SuperLink."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final

from starlette.responses import FileResponse, Response

from fedaffect.client.protocol.identity import proves
from fedaffect.edge.bundle import SigningKey
from fedaffect.edge.errors import ConfigError, FedAffectError, unknown_name
from fedaffect.server.federation.settings import OWN_EXAMPLES
from fedaffect.server.fleet.api.messages import (
    CheckIn,
    Enrolment,
    Evaluation,
    NewKey,
    RegionReport,
    RolloutRequest,
    RunSubmission,
    SpentPrivacy,
    TokenRequest,
)
from fedaffect.server.fleet.api.operators_devices import OperatorsDevices
from fedaffect.server.fleet.api.report import fleet_status, states_of_runs
from fedaffect.server.fleet.errors import NotAuthorised
from fedaffect.server.fleet.failures import Failures
from fedaffect.server.fleet.runs.driver_state import DriverState
from fedaffect.server.fleet.runs.own_examples import (
    bundle_on_offer,
    is_own,
    own_settings,
    public_corpora,
    what_is_learned,
    with_usual_noise,
)
from fedaffect.server.fleet.runs.submission import BY_REGION, GROUP, ROLLOUT, checked_settings
from fedaffect.server.fleet.setup.device_certificates import DeviceCertificates
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.flower_compat.control import SuperLink, load_public_key
from fedaffect.server.registry import (
    Registry,
    RegistryUnavailable,
    bundles,
    devices,
    keys,
    privacy,
    rollouts,
    runs,
    tokens,
)
from fedaffect.server.starting_point import with_start

logger = logging.getLogger(__name__)

# How runs over devices' own examples are called, with a number behind it.
_LEARN: Final = "learn-"


class Aggregator:
    """A fleet's registry and SuperLink.

    Parameters
    ----------
    folder : FleetFolder
    registry : Registry
    superlink : SuperLink
    """

    def __init__(self, folder: FleetFolder, registry: Registry, superlink: SuperLink) -> None:
        self.folder = folder
        self.registry = registry
        self.superlink = superlink
        self._certificates = DeviceCertificates(folder.authority, registry)
        self.devices = OperatorsDevices(registry, self.register)

    def make_tokens(self, request: TokenRequest) -> dict[str, Any]:
        """Tokens that let devices in."""
        made = [
            tokens.make_token(
                self.registry,
                valid=timedelta(hours=request.hours),
                note=request.note,
                uses=request.uses,
                approval=request.approval,
                group=request.group,
                region=request.region,
            )
            for _ in range(request.count)
        ]
        return {"tokens": made}

    def list_tokens(self) -> dict[str, Any]:
        """Tokens that were made, without their secrets."""
        return {"tokens": [_token(token) for token in tokens.every(self.registry)]}

    def end_token(self, token: str) -> dict[str, Any]:
        """Let nobody else in by a token."""
        return _token(tokens.end_token(self.registry, token))

    def enroll(self, request: Enrolment, refused: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Let a device in: registered here and, by its key, with Flower.

        Parameters
        ----------
        request : Enrolment
        refused : callable, optional
            Gets the reason of a refusal, in place of the audit log.
        """
        load_public_key(request.public_key)
        device = devices.enroll(
            self.registry,
            request.token,
            name=request.name,
            public_key=request.public_key,
            capabilities=devices.Capabilities(
                modalities=tuple(request.modalities), memory_mb=request.memory_mb, cores=request.cores
            ),
            consent=request.consent,
            partition=request.partition,
            region=request.region,
            refused=refused,
        )
        if device.status == "enrolled":
            self.register(device)
        return {
            "device_id": device.id,
            "waiting": device.status == "waiting",
            "number": device.partition,
            "bundle_key": SigningKey.own().public.raw.hex(),
            "superlink": f"{self.folder.settings.hosts[0]}:{self.folder.settings.superlink_port}",
        }

    def register(self, device: devices.Device) -> None:
        """Register the device's key with Flower."""
        node_id = self.superlink.register(device.public_key, device.name)
        if node_id != device.node_id:
            devices.set_node(self.registry, device.id, node_id)

    def check_in(self, device: devices.Device, report: CheckIn) -> dict[str, Any]:
        """Record what a device reports, and say which bundle it should run."""
        if report.consent is not None and report.consent != device.consent:
            devices.set_consent(self.registry, device.id, report.consent)
        devices.seen(self.registry, [device.id])
        self._charge(device, report.privacy)
        withdrawn = rollouts.withdrawn(self.registry)
        return {"bundle": rollouts.version_for(self.registry, device.id), "withdrawn": withdrawn}

    def report_region(self, device: devices.Device, said: RegionReport) -> dict[str, Any]:
        """Record what a region says of its devices; which runs are open, and how far they are."""
        devices.report_region(self.registry, device.id, said.model_dump())
        return {"name": self.folder.settings.name, "runs": states_of_runs(self.registry)}

    def _charge(self, device: devices.Device, said: Sequence[SpentPrivacy]) -> None:
        """Record what a device has spent; its own ledger decides, this one is for the operator to see."""
        known = runs.known(self.registry, {spent.run for spent in said})
        paid = [
            privacy.Charge(
                run_id=spent.run,
                round=spent.round,
                attempt=spent.attempt,
                device_id=device.id,
                unit="example",
                epsilon=spent.epsilon,
                delta=spent.delta,
                accountant="rdp",
                noise_multiplier=spent.noise_multiplier,
            )
            for spent in said
            if spent.run in known
        ]
        if paid:
            # The audit log has what does not fit; the device goes on with its own ledger.
            privacy.charge_all(self.registry, paid)

    def add_key(self, device: devices.Device, request: NewKey) -> dict[str, Any]:
        """Add the key that is to replace a device's own, here and with Flower; both are valid until `retire_key`."""
        load_public_key(request.public_key)
        if not proves(request.public_key, device.id, request.proof):
            raise NotAuthorised(
                f"the proof is not signed with the new key of device {device.name!r}; use fedaffect device rotate"
            )
        self.register(devices.rotate_key(self.registry, device.id, request.public_key))
        return {"device_id": device.id}

    def retire_key(self, device: devices.Device, public_key: str) -> dict[str, Any]:
        """Refuse all keys of a device but this one, which signed the request; here first, then with Flower."""
        retired = devices.retire_keys(self.registry, device.id, public_key)
        self._unregister({key.node_id for key in retired}, f"a key of {device.id} is retired")
        return {"retired": len(retired)}

    def certify(self, device: devices.Device) -> dict[str, Any]:
        """A certificate of a device's key, for its neighbours in secure sums."""
        return {"certificate": self._certificates.of(device).decode()}

    def revoke(self, device_id: str, reason: str, actor: str) -> dict[str, Any]:
        """Keep a device out: first here, so that its updates are refused at once, then with Flower."""
        device = devices.get(self.registry, device_id)
        # There are two while it changes its key.
        known = {device.node_id, *(key.node_id for key in keys.of(self.registry, "device", device.id))}
        revoked = devices.revoke(self.registry, device.id, reason=reason, actor=actor)
        self._unregister(known, f"{revoked.id} is revoked")
        return {"device_id": revoked.id, "name": revoked.name}

    def _unregister(self, node_ids: Collection[int | None], why: str) -> None:
        """Unregister nodes with Flower; while it is unavailable, `reconcile` does so later."""
        for node_id in node_ids:
            if node_id is None:
                continue
            try:
                self.superlink.unregister(node_id)
            except FedAffectError as error:
                logger.warning("%s; Flower unregisters it later: %s", why, error)

    def reconcile(self, failures: Failures | None = None) -> None:
        """Register with Flower exactly the devices that are enrolled; either may have been restarted.

        Parameters
        ----------
        failures : Failures, optional
            Gets what fails for a single device or node; the others are not kept from theirs.
        """
        failures = failures or Failures()
        known = {node_id for node_id, state in self.superlink.nodes().items() if state != "unregistered"}
        for device in devices.every(self.registry):
            if device.status == "enrolled" and device.public_key and device.node_id not in known:
                failures.attempt(f"device {device.id}", partial(self.register, device), (RegistryUnavailable,))
        for node_id in known - set(devices.nodes(self.registry)):
            # Nodes that somebody registered with `flwr supernode register` stay.
            if self._was_ours(node_id):
                failures.attempt(f"node {node_id}", partial(self.superlink.unregister, node_id))

    def _was_ours(self, node_id: int) -> bool:
        with self.registry.reading() as session:
            return keys.by_node(session, node_id) is not None

    def bundle(self, version: str) -> Response:
        """A bundle's tar."""
        entry = bundles.get_offered(self.registry, version)
        return FileResponse(entry.path, media_type="application/x-tar", headers={"x-bundle-sha256": entry.sha256})

    def add_evaluation(self, device: devices.Device, found: Evaluation) -> dict[str, Any]:
        """Record a device's metric with the bundle before and with the new one, on its own examples."""
        rollout = rollouts.report(
            self.registry,
            device.id,
            found.version,
            metric=found.metric,
            before=found.before,
            after=found.after,
            examples=found.examples,
            noise=found.noise,
        )
        return {"state": rollout.state, "bundle": rollouts.version_for(self.registry, device.id)}

    def roll_out(self, request: RolloutRequest) -> dict[str, Any]:
        """Stage a bundle, or roll the staged one back."""
        if request.back:
            rollout = rollouts.roll_back(self.registry, reason=request.reason)
        else:
            rollout = rollouts.stage(
                self.registry,
                request.version,
                request.percent,
                tolerance=request.tolerance,
                min_examples=request.min_examples,
            )
        return {"version": rollout.bundle_version, "state": rollout.state, "percent": rollout.percent}

    def start_run(self, request: RunSubmission) -> dict[str, Any]:
        """Register a run; the driver submits it to Flower, and again until it has ended."""
        given = {**request.settings, **self._by_region(request.settings.get(GROUP))}
        if is_own(given):
            # Wrong words first: what the bundle says takes longer.
            checked_settings({**with_usual_noise(given), "dataset": OWN_EXAMPLES}, self.folder.runs)
            # Which devices get the bundle is each region's to say.
            rollout = 0.0 if given.get(BY_REGION) else 100.0
            usual = {"name": self._next_name(), ROLLOUT: rollout, **public_corpora(self.folder)}
            given = {**usual, **given}
            given = own_settings(given, self._begun_from(str(given["name"])) or bundle_on_offer(self.registry))
        # An earlier run is named as the fleet knows it.
        of_start = with_start({**given, "out": str(self.folder.runs)})
        run_id, settings = checked_settings(of_start, self.folder.runs)
        self._require_group(settings.get(GROUP))
        run = runs.create(self.registry, run_id=run_id, config=settings, data_statement=request.data_statement)
        learns = what_is_learned(settings) + self._beside(run)
        return {"run": run.id, "state": run.state, "reason": run.reason, "learns": learns}

    def _beside(self, run: runs.Run) -> str:
        """That another open run goes on from the same bundle, in words: the later result takes the earlier's place."""
        others = [
            other.id
            for other in runs.every(self.registry, "open")
            if other.id != run.id and is_own(other.config) and is_own(run.config)
        ]
        return f"; what {', '.join(others)} learns meanwhile is not in its bundle" if others else ""

    def _begun_from(self, name: str) -> Path | None:
        """The bundle of the run of that name: asked for again, it is that run, whatever is on offer by now."""
        config = next((run.config for run in runs.every(self.registry) if run.id == name), {})
        return Path(str(config["bundle"])) if config.get("dataset") == OWN_EXAMPLES else None

    def _by_region(self, group: object) -> dict[str, bool]:
        """Whether a run asks regions, which follows from who is enrolled."""
        asked = [d for d in devices.every(self.registry) if d.status == "enrolled" and group in (None, d.group)]
        regions = [d for d in asked if d.region is not None]
        if regions and len(regions) < len(asked):
            alone = next(d.name for d in asked if d.region is None)
            raise ConfigError(
                f"a run asks regions or devices, and device {alone!r} is in none; enrol it with one, or give a group"
            )
        return {BY_REGION: True} if regions else {}

    def _require_group(self, group: str | None) -> None:
        known = {device.group for device in devices.every(self.registry) if device.status != "revoked"} - {""}
        if group is not None and group not in known:
            raise unknown_name("group", group, sorted(known))

    def cancel_run(self, run_id: str, reason: str) -> dict[str, Any]:
        """End a run: here, so that nothing of it counts from now on, then with Flower."""
        run = runs.cancel(self.registry, run_id, reason=reason or "the operator cancelled it")
        for flower_run in run.flower_runs[-1:]:
            try:
                self.superlink.stop(flower_run)
            except FedAffectError as error:
                # Without its lease the process that carries it ends by itself.
                logger.warning(
                    "run %s is cancelled; Flower's run %d could not be stopped: %s", run_id, flower_run, error
                )
        return {"run": run.id, "state": run.state, "reason": run.reason}

    def _next_name(self) -> str:
        """The open run over devices' own examples, which the same settings do not begin twice; else a new name."""
        known = {run.id: run.state for run in runs.every(self.registry)}
        numbers = (f"{_LEARN}{number}" for number in itertools.count(1))
        return next(name for name in numbers if known.get(name, "open") == "open")

    def status(self, driver: DriverState | None = None) -> dict[str, Any]:
        """Devices, runs and rounds, budget, versions; and how the driver of runs does."""
        online: dict[int, str] | None = None
        try:
            online = self.superlink.nodes()
        except FedAffectError as error:
            logger.warning("%s", error)
        return fleet_status(self.registry, online, driver)


def _token(token: tokens.Token) -> dict[str, Any]:
    moments = {"created": token.created.isoformat(), "expires": token.expires.isoformat()}
    return {**asdict(token), **moments}


def app_folder(folder: FleetFolder, run_id: str) -> Path:
    """Where a run's app lies."""
    return folder.path / "apps" / run_id
