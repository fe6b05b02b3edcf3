"""Joining a fleet: the key is made on the device and stays there; the server gets its public half."""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedaffect.client.device.certifying import certify_if_due
from fedaffect.client.device.engine import AUTO
from fedaffect.client.device.errors import DeviceRefusedError, ServiceAway
from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
from fedaffect.client.device.permission import LearningRules
from fedaffect.client.device.service import FleetService
from fedaffect.client.device.sum_memory import SumMemory
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.client.protocol.names import checked_name
from fedaffect.edge.bundle import PublicKey
from fedaffect.edge.bundle.signature import forget_trust, trust_key
from fedaffect.edge.errors import FedAffectError, RunError
from fedaffect.edge.sample import MODALITIES
from fedaffect.edge.system.files import private_folder, write_private

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a device can do, as it reports itself.

    Parameters
    ----------
    modalities : tuple of str
    memory_mb, cores : int
    """

    modalities: tuple[str, ...] = MODALITIES
    memory_mb: int = 0
    cores: int = 0

    @classmethod
    def here(cls, modalities: Sequence[str] = MODALITIES) -> Capabilities:
        """Of this machine."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(modalities=tuple(modalities), memory_mb=memory // 2**20, cores=len(os.sched_getaffinity(0)))


def enroll(
    folder: DeviceFolder,
    *,
    server: str,
    token: str,
    authority: Path,
    name: str,
    consent: bool,
    capabilities: Capabilities,
    rules: LearningRules,
    partition: int = -1,
    profile: str = "edge",
    store: str = "",
    engine: str = AUTO,
    region: bool = False,
) -> DeviceSettings:
    """Join a fleet.

    Parameters
    ----------
    folder : DeviceFolder
    server : str
        ``https://HOST:PORT`` of the fleet's service.
    token : str
        From the operator.
    authority : Path
        PEM of the fleet's authority, from the operator too.
    name : str
    consent : bool
    capabilities : Capabilities
    rules : LearningRules
    partition : int
        Of a cohort on the server's own machine; -1 to learn from the device's own examples.
    profile, store, engine : str
        See `DeviceSettings`.
    region : bool
        Whether it stands for devices of its own: a region's aggregator.

    Raises
    ------
    RunError
        If the device is enrolled already.
    DeviceRefusedError
        If the token is wrong, used or expired, or the name is taken.
    ServiceAway
        If the service cannot be reached.
    """
    if folder.enrolled:
        raise RunError(
            f"{folder.path} is device {folder.settings.name!r} of a fleet already; "
            "leave that first: fedaffect device revoke"
        )
    name = checked_name(name, "device")
    new = not folder.path.exists()
    private_folder(folder.path)
    try:
        answer = _register(folder, server, token, authority, name, consent, capabilities, partition, region)
    except FedAffectError as error:
        # The fleet may have registered the key of a request whose answer was lost: then the next attempt needs it.
        if new and not (isinstance(error, ServiceAway) and error.sent):
            shutil.rmtree(folder.path, ignore_errors=True)
        raise
    # The operator's authority vouches for the service, and so for the key that signs the fleet's bundles.
    trust_key(PublicKey(bytes.fromhex(str(answer["bundle_key"]))), by=_voucher(str(answer["device_id"])))
    settings = DeviceSettings(
        id=str(answer["device_id"]),
        name=name,
        number=int(answer["number"]),
        server=server,
        superlink=str(answer["superlink"]),
        consent=consent,
        partition=partition,
        only_private=partition < 0,
        profile=profile,
        store=store,
        engine=engine,
        rules=rules,
        waiting=bool(answer.get("waiting", False)),
    )
    folder.save(settings)
    if settings.waiting:
        return settings
    with FleetService(server, folder.authority_path, DeviceKey.read(folder.key_path), settings.id) as service:
        certify_if_due(folder, service)
    return settings


def _voucher(device_id: str) -> str:
    """Who vouches for the fleet's key, so that one of several devices of a user can leave."""
    return f"device {device_id}"


def _register(
    folder: DeviceFolder,
    server: str,
    token: str,
    authority: Path,
    name: str,
    consent: bool,
    capabilities: Capabilities,
    partition: int,
    region: bool,
) -> dict[str, Any]:
    """Send the enrolment; the service's answer."""
    # A key that an earlier attempt left is used again: the fleet may have registered it before the answer was lost.
    key = DeviceKey.read(folder.key_path) if folder.key_path.exists() else DeviceKey.make(folder.key_path)
    if authority.absolute() != folder.authority_path:
        write_private(folder.authority_path, authority.read_bytes(), replace=True)
    with FleetService(server, folder.authority_path, key) as service:
        return service.post(
            "/v1/devices",
            {
                "token": token,
                "name": name,
                "public_key": key.public,
                "consent": consent,
                **asdict(capabilities),
                **({} if partition < 0 else {"partition": partition}),
                **({"region": True} if region else {}),
            },
        )


def leave(folder: DeviceFolder, *, reason: str = "its user left") -> None:
    """Leave the fleet: the server forgets the key, and the device its private half and whose bundles it believed.

    A fleet that does not listen, as it revoked the device before, is left all the same.

    Raises
    ------
    ServiceAway
        If the service cannot be reached; nothing changes then.
    """
    settings = folder.settings
    with FleetService(settings.server, folder.authority_path, DeviceKey.read(folder.key_path), settings.id) as service:
        try:
            service.post("/v1/device/revoke", {"reason": reason})
        except DeviceRefusedError as error:
            logger.warning("%s; this device leaves all the same, as without its key nobody can speak for it", error)
    folder.forget()
    forget_trust(_voucher(settings.id))
    shutil.rmtree(folder.states, ignore_errors=True)
    SumMemory(folder.sums).expire(0.0)
