"""Who speaks to the service: the operator by a token, a device by its signature."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from fedaffect.client.protocol.identity import DEVICE, NONCE, TIME, verified
from fedaffect.server.fleet.errors import NotAuthorised
from fedaffect.server.registry import Registry, devices, keys

# As much as Flower's SuperLink allows a SuperNode.
CLOCK_TOLERANCE_S: Final = 300.0
_BEARER: Final = "Bearer "


class DeviceGate:
    """Lets requests through that an enrolled device signed just now, each once.

    Parameters
    ----------
    registry : Registry
    clock : callable, optional
        Seconds since the epoch.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        self._heard: dict[str, float] = {}
        self._lock = threading.Lock()

    def admit(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> devices.Device:
        """The device that signed a request.

        Raises
        ------
        NotAuthorised
            If the signature is missing or wrong, its time is off, or it was used before.
        DeviceRefused
            If the device is unknown or revoked.
        """
        device_id, said, nonce = (headers.get(name, "") for name in (DEVICE, TIME, NONCE))
        if not device_id:
            raise NotAuthorised("the request is not signed by a device; enroll with fedaffect device enroll")
        device = devices.get(self._registry, device_id)
        if device.id != device_id or device.status != "enrolled":
            raise NotAuthorised(f"device {device.name!r} was revoked ({device.reason or 'no reason given'})")
        off_s = self._clock() - _seconds(said)
        if abs(off_s) > CLOCK_TOLERANCE_S:
            raise NotAuthorised(
                f"device {device.name!r} says that it is {abs(off_s):.0f} s "
                f"{'earlier' if off_s > 0 else 'later'} than here; set its clock, by NTP best"
            )
        counting = keys.of(self._registry, "device", device_id)
        if not any(verified(key.public, method, path, headers, body) for key in counting):
            raise NotAuthorised(f"the signature is not of device {device.name!r}; its key may be revoked or run out")
        self._hear_once(f"{device_id} {nonce}", device.name)
        return device

    def _hear_once(self, what: str, name: str) -> None:
        now = self._clock()
        with self._lock:
            # Older ones are refused for their time.
            self._heard = {k: t for k, t in self._heard.items() if now - t < 2 * CLOCK_TOLERANCE_S}
            if what in self._heard:
                raise NotAuthorised(f"a request of device {name!r} came a second time; somebody may have recorded it")
            self._heard[what] = now


def require_operator(token: str, headers: Mapping[str, str]) -> None:
    """Let only the operator through.

    Raises
    ------
    NotAuthorised
        If the token is missing or wrong.
    """
    given = headers.get("authorization", "")
    if not given.startswith(_BEARER) or not secrets.compare_digest(
        given.removeprefix(_BEARER).encode(), token.encode()
    ):
        raise NotAuthorised("this needs the operator's token; it lies in the fleet's folder as operator.token")


def _seconds(said: str) -> float:
    try:
        return float(said)
    except ValueError:
        raise NotAuthorised("the request's time is no number; update fedaffect on the device") from None
