"""Certificates of devices' keys: made as a device asks, or laid ready by who keeps the authority's key elsewhere.

A server that has that key can invent devices; one that has not can only pass on what its keeper certified.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cachetools import TTLCache

from fedaffect.client.protocol.certificate import CERTIFICATE_DAYS
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import private_folder, read_private, write_private
from fedaffect.server.fleet.setup.authority import Authority
from fedaffect.server.registry import Registry, audit, devices, keys

_REMEMBERED: Final = 100_000
_REMEMBERED_FOR_S: Final = 86_400.0


class DeviceCertificates:
    """Gives a device the certificate of its newest key.

    Parameters
    ----------
    authority : Authority
        Its private key may be elsewhere.
    registry : Registry
    """

    def __init__(self, authority: Authority, registry: Registry) -> None:
        self._authority = authority
        self._registry = registry
        # Within a day the same again, or one device could fill the audit log.
        self._made: TTLCache[str, bytes] = TTLCache(_REMEMBERED, _REMEMBERED_FOR_S)
        self._lock = threading.Lock()

    def of(self, device: devices.Device) -> bytes:
        """A device's certificate, as PEM.

        Raises
        ------
        ConfigError
            If the authority's private key is not here and nobody laid one ready.
        """
        fingerprint = keys.fingerprint(device.public_key)
        with self._lock:
            if self._authority.key_path.is_file():
                if fingerprint not in self._made:
                    self._made[fingerprint] = self._make(self._authority, device, CERTIFICATE_DAYS, "aggregator")
                return self._made[fingerprint]
        ready = self._ready(fingerprint)
        if not ready.is_file():
            raise ConfigError(
                "the authority's key is not on the server; its keeper certifies devices: fedaffect fleet certify"
            )
        return read_private(ready)

    def lay_ready(self, certified: Sequence[devices.Device], key: Path, days: float) -> None:
        """Certify devices with the authority's private key, which lies elsewhere.

        Parameters
        ----------
        certified : sequence of Device
            As its keeper has seen them.
        key : Path
            PEM, mode 0600.
        days : float
            How long the certificates count.

        Raises
        ------
        ConfigError
            If it is not the authority's.
        """
        keeper = Authority(self._authority.folder, key)
        keeper.require_own_key()
        for device in certified:
            ready = self._ready(keys.fingerprint(device.public_key))
            private_folder(ready.parent)
            write_private(ready, self._make(keeper, device, days, "operator"), replace=True)

    def _make(self, authority: Authority, device: devices.Device, days: float, actor: str) -> bytes:
        certificate = authority.certify(device.id, device.partition, device.public_key, days=days)
        fingerprint = keys.fingerprint(device.public_key)
        audit.write(
            self._registry, "device.certified", subject=device.id, actor=actor, fingerprint=fingerprint, days=days
        )
        return certificate

    def _ready(self, fingerprint: str) -> Path:
        return self._authority.folder / "devices" / f"{fingerprint}.pem"
