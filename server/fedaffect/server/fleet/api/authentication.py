"""Who sends a request: the operator shows a token, a device signs."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final

from cachetools import TTLCache

from fedaffect.client.protocol.identity import DEVICE, NONCE, TIME, verified
from fedaffect.server.fleet.errors import ClockOff, DeviceRevoked, NotAuthorised
from fedaffect.server.registry import Registry, devices, keys

# As much as Flower's SuperLink allows a SuperNode.
CLOCK_TOLERANCE_S: Final = 300.0
_BEARER: Final = "Bearer "
# Each is remembered for as long as its request's time counts.
_LONGEST_NONCE: Final = 64


class DeviceAuthenticator:
    """Accepts requests that an enrolled device signed just now, each once, or one that waits for approval.

    Parameters
    ----------
    registry : Registry
    clock : callable, optional
        Seconds since the epoch.
    """

    def __init__(self, registry: Registry, clock: Callable[[], float] = time.time) -> None:
        self._registry = registry
        self._clock = clock
        # Never full, so that no flood of requests makes room for a replay; an older request is refused for its time.
        self._used: TTLCache[str, None] = TTLCache(math.inf, 2 * CLOCK_TOLERANCE_S + 1, clock)
        self._lock = threading.Lock()

    def authenticate(self, method: str, path: str, headers: Mapping[str, str], body: bytes) -> devices.Device:
        """The device that signed a request.

        Raises
        ------
        NotAuthorised
            If the signature is missing or wrong, its time is off (`ClockOff`), or it was used before.
        DeviceRevoked, DeviceRefused
            If the device is revoked, or unknown.
        """
        device_id, moment, nonce = (headers.get(name, "") for name in (DEVICE, TIME, NONCE))
        if len(nonce) > _LONGEST_NONCE:
            raise NotAuthorised(f"a nonce has at most {_LONGEST_NONCE} characters; update fedaffect on the device")
        if not device_id:
            raise NotAuthorised("the request is not signed by a device; enroll with fedaffect device enroll")
        device = devices.get(self._registry, device_id)
        if device.id != device_id or device.status == "revoked":
            raise DeviceRevoked(f"device {device.name!r} was revoked ({device.reason or 'no reason given'})")
        off_s = self._clock() - _seconds(moment)
        if abs(off_s) > CLOCK_TOLERANCE_S:
            raise ClockOff(
                f"the clock of device {device.name!r} is {abs(off_s):.0f} s "
                f"{'slow' if off_s > 0 else 'fast'}; set its clock, best by NTP"
            )
        valid = keys.of(self._registry, "device", device_id)
        if not any(verified(key.public, method, path, headers, body) for key in valid):
            raise NotAuthorised(f"the signature is not of device {device.name!r}; its key may be revoked or expired")
        self._use_once(f"{device_id} {nonce}", device.name)
        return device

    def _use_once(self, nonce: str, name: str) -> None:
        with self._lock:
            if nonce in self._used:
                raise NotAuthorised(f"a request of device {name!r} came a second time; somebody may have recorded it")
            self._used[nonce] = None


def require_operator(token: str, headers: Mapping[str, str]) -> None:
    """Accept only the operator.

    Raises
    ------
    NotAuthorised
        If the token is missing or wrong.
    """
    given = bearer(headers)
    if given is None or not secrets.compare_digest(given.encode(), token.encode()):
        raise NotAuthorised("this needs the operator's token; it is operator.token in the fleet's folder")


def bearer(headers: Mapping[str, str]) -> str | None:
    """The token that a request shows; None where it shows none."""
    given = headers.get("authorization", "")
    return given.removeprefix(_BEARER) if given.startswith(_BEARER) else None


def _seconds(moment: str) -> float:
    try:
        seconds = float(moment)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise NotAuthorised("the request's time is not a number; update fedaffect on the device")
    return seconds
