"""What the service does: each call is one act on registry and SuperLink."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from starlette.responses import FileResponse, Response

from fedaffect.client.protocol.identity import proves
from fedaffect.edge.bundle import SigningKey
from fedaffect.edge.errors import ConfigError
from fedaffect.server.fleet.api.report import fleet_status
from fedaffect.server.fleet.errors import NotAuthorised, SuperLinkAway
from fedaffect.server.fleet.runs.submission import checked_settings
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.fleet.superlink.control import SuperLink, load_public_key
from fedaffect.server.registry import Registry, bundles, devices, keys, privacy, rollouts, runs
from fedaffect.server.registry.errors import LedgerConflict, UnknownRun

logger = logging.getLogger(__name__)

_TOKEN_HOURS: Final = 24.0

Said = Mapping[str, Any]


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

    def make_token(self, said: Said) -> dict[str, Any]:
        """A token that lets one device in."""
        valid = timedelta(hours=float(said.get("hours", _TOKEN_HOURS)))
        return {"token": devices.make_token(self.registry, valid=valid, note=str(said.get("note", "")))}

    def enroll(self, said: Said, refused: Callable[[str], None] | None = None) -> dict[str, Any]:
        """Let a device in: registered here and, by its key, with Flower.

        Parameters
        ----------
        said : mapping
        refused : callable, optional
            Told why it is not, in place of the audit log.
        """
        try:
            public_key = str(said["public_key"])
            load_public_key(public_key)
            device = devices.enroll(
                self.registry,
                str(said["token"]),
                name=str(said["name"]),
                public_key=public_key,
                capabilities=devices.Capabilities(
                    modalities=tuple(str(m) for m in said["modalities"]),
                    memory_mb=int(said["memory_mb"]),
                    cores=int(said["cores"]),
                ),
                consent=bool(said["consent"]),
                refused=refused,
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is no enrolment ({error!r}); use fedaffect device enroll") from error
        self._admit(device)
        return {
            "device_id": device.id,
            "number": self._number(device.id),
            "bundle_key": SigningKey.own().public.raw.hex(),
            "superlink": f"{self.folder.settings.hosts[0]}:{self.folder.settings.superlink_port}",
        }

    def _admit(self, device: devices.Device) -> None:
        """Have Flower know the device's key."""
        node_id = self.superlink.register(device.public_key, device.name)
        if node_id != device.node_id:
            devices.set_node(self.registry, device.id, node_id)

    def _number(self, device_id: str) -> int:
        """A device's place in the order of enrolment, revoked ones counted: it never changes."""
        return [device.id for device in devices.every(self.registry)].index(device_id)

    def check_in(self, device: devices.Device, said: Said) -> dict[str, Any]:
        """Hear a device out, and tell it which bundle it should run."""
        consent = bool(said.get("consent", device.consent))
        if consent != device.consent:
            devices.set_consent(self.registry, device.id, consent)
        devices.seen(self.registry, [device.id])
        for spent in said.get("privacy", ()):
            self._charge(device, spent)
        withdrawn = [r.bundle_version for r in rollouts.every(self.registry) if r.state == "rolled-back"]
        return {"bundle": rollouts.version_for(self.registry, device.id), "withdrawn": withdrawn}

    def _charge(self, device: devices.Device, spent: Said) -> None:
        """Record what a device says it has spent; its own ledger decides, this one is to be looked at."""
        try:
            paid = privacy.Charge(
                run_id=str(spent["run"]),
                round=int(spent["round"]),
                attempt=int(spent["attempt"]),
                device_id=device.id,
                unit="example",
                epsilon=float(spent["epsilon"]),
                delta=float(spent["delta"]),
                accountant="rdp",
                noise_multiplier=float(spent["noise_multiplier"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is no line of a privacy ledger ({error!r}); update fedaffect") from error
        try:
            privacy.charge(self.registry, paid)
        except (LedgerConflict, UnknownRun) as error:
            # The audit log has it; the device goes on, by its own books.
            logger.warning("%s: %s", device.name, error)

    def take_key(self, device: devices.Device, said: Said) -> dict[str, Any]:
        """Take in the key that is to replace a device's own, here and with Flower; both count until `retire_key`."""
        public_key = str(said.get("public_key", ""))
        load_public_key(public_key)
        if not proves(public_key, device.id, str(said.get("proof", ""))):
            raise NotAuthorised(
                f"nobody proves to have the new key of device {device.name!r}; use fedaffect device rotate"
            )
        self._admit(devices.rotate_key(self.registry, device.id, public_key))
        return {"device_id": device.id}

    def retire_key(self, device: devices.Device, public_key: str) -> dict[str, Any]:
        """Refuse all keys of a device but this one, which it has signed with; here first, then with Flower."""
        retired = devices.retire_keys(self.registry, device.id, public_key)
        self._unregister({key.node_id for key in retired}, f"a key of {device.name} is retired")
        return {"retired": len(retired)}

    def revoke(self, device_id: str, reason: str, actor: str) -> dict[str, Any]:
        """Keep a device out: first here, so that nothing of it counts any more, then with Flower."""
        device = devices.get(self.registry, device_id)
        # Two of them while it changes its key.
        known = {device.node_id, *(key.node_id for key in keys.of(self.registry, "device", device.id))}
        revoked = devices.revoke(self.registry, device.id, reason=reason, actor=actor)
        self._unregister(known, f"{revoked.name} is revoked")
        return {"device_id": revoked.id, "name": revoked.name}

    def _unregister(self, node_ids: Collection[int | None], why: str) -> None:
        """Have Flower forget nodes; while it is away, `reconcile` does so later."""
        for node_id in node_ids:
            if node_id is None:
                continue
            try:
                self.superlink.unregister(node_id)
            except SuperLinkAway as error:
                logger.warning("%s; Flower is told when it is back: %s", why, error)

    def reconcile(self) -> None:
        """Have Flower know exactly the devices that are enrolled, whatever either forgot while the other was away."""
        known = {node_id for node_id, state in self.superlink.nodes().items() if state != "unregistered"}
        enrolled = [d for d in devices.every(self.registry) if d.status == "enrolled" and d.public_key]
        for device in enrolled:
            if device.node_id not in known:
                self._admit(device)
        for node_id in known - set(devices.nodes(self.registry)):
            # Also nodes that somebody registered past us with `flwr supernode register`: those stay.
            if self._was_ours(node_id):
                self.superlink.unregister(node_id)

    def _was_ours(self, node_id: int) -> bool:
        with self.registry.reading() as session:
            return keys.by_node(session, node_id) is not None

    def bundle(self, version: str) -> Response:
        """A bundle's tar."""
        entry = bundles.get_offered(self.registry, version)
        return FileResponse(entry.path, media_type="application/x-tar", headers={"x-bundle-sha256": entry.sha256})

    def evaluated(self, device: devices.Device, said: Said) -> dict[str, Any]:
        """Take what a device found on its own examples with the bundle before and with the new one."""
        try:
            rollout = rollouts.report(
                self.registry,
                device.id,
                str(said["version"]),
                metric=str(said["metric"]),
                before=float(said["before"]),
                after=float(said["after"]),
                examples=int(said["examples"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ConfigError(f"this is no evaluation ({error!r}); update fedaffect on the device") from error
        return {"state": rollout.state, "bundle": rollouts.version_for(self.registry, device.id)}

    def roll_out(self, said: Said) -> dict[str, Any]:
        """Stage a bundle, or take the staged one back."""
        if said.get("back"):
            rollout = rollouts.roll_back(self.registry, reason=str(said.get("reason", "the operator took it back")))
        else:
            rollout = rollouts.stage(
                self.registry,
                str(said.get("version", "")),
                float(said.get("percent", 100)),
                tolerance=float(said.get("tolerance", 0.02)),
                min_examples=int(said.get("min_examples", 20)),
            )
        return {"version": rollout.bundle_version, "state": rollout.state, "percent": rollout.percent}

    def start_run(self, said: Said) -> dict[str, Any]:
        """Register a run; the driver submits it, and submits it again until it is over."""
        run_id, settings = checked_settings(said.get("settings", {}), self.folder.runs)
        run = runs.create(
            self.registry,
            run_id=run_id,
            config=settings,
            data_statement=str(said.get("data_statement", "")),
            privacy=dict(said.get("privacy", {})),
        )
        return {"run": run.id, "state": run.state}

    def status(self) -> dict[str, Any]:
        """Devices, runs and rounds, budget, versions."""
        try:
            online = self.superlink.nodes()
        except SuperLinkAway as error:
            logger.warning("%s", error)
            online = {}
        return fleet_status(self.registry, online)


def app_folder(folder: FleetFolder, run_id: str) -> Path:
    """Where a run's app lies."""
    return folder.path / "apps" / run_id
