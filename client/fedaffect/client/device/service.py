"""A device's client of the aggregator service: HTTPS, the fleet's own authority, signed requests."""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final

import httpx

from fedaffect.client.device.errors import (
    DeviceClockError,
    DeviceRefusedError,
    DeviceRevokedError,
    DeviceWaitingError,
    ServiceAway,
)
from fedaffect.client.protocol.identity import DeviceKey
from fedaffect.edge.bundle.archive import LARGEST_BYTES
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.system.files import replacing

_TIMEOUT_S: Final = 30.0
_TOO_OFTEN: Final = 429
_REVOKED: Final = 410
_WAITING: Final = 409
_CLOCK: Final = 425
_LONGEST_REASON: Final = 80
_LARGEST_ANSWER_BYTES: Final = 8 << 20


class FleetService:
    """The service of a fleet.

    Parameters
    ----------
    url : str
        ``https://HOST:PORT``.
    authority : Path
        PEM that vouches for it.
    key : DeviceKey, optional
        Signs what is sent.
    device_id : str
    """

    def __init__(self, url: str, authority: Path, key: DeviceKey | None = None, device_id: str = "") -> None:
        if not url.startswith("https://"):
            raise ConfigError(f"{url!r} is not https://HOST:PORT; a device sends nothing in the clear")
        self._url = url.rstrip("/")
        self._key = key
        self._device_id = device_id
        try:
            context = ssl.create_default_context(cafile=str(authority))
        except OSError as error:
            raise ConfigError(f"{authority} is not a PEM certificate ({error}); give --ca") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._client = httpx.Client(verify=context, timeout=_TIMEOUT_S, trust_env=False)

    def post(self, path: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """Send a request; the service's answer.

        Raises
        ------
        DeviceRefusedError
            If it refuses; the message says why. A device that was revoked gets a `DeviceRevokedError`.
        ServiceAway
            If it cannot be reached, or its certificate is not valid.
        """
        received = BytesIO()
        self._ask("POST", path, json.dumps(content).encode(), received, _LARGEST_ANSWER_BYTES)
        try:
            answer: dict[str, Any] = json.loads(received.getvalue())
        except ValueError as error:
            raise ServiceAway(f"{self._url} does not answer as a fleet's service does; check the address") from error
        return answer

    def download(self, path: str, target: Path) -> None:
        """Write the bundle that the service serves at a path to a file, which appears whole or not at all.

        Raises
        ------
        DeviceRefusedError
            If it is larger than a bundle may be.
        """
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target, private=True) as part, part.open("wb") as file:
            self._ask("GET", path, b"", file, LARGEST_BYTES)

    def _ask(self, method: str, path: str, body: bytes, target: IO[bytes], largest_bytes: int) -> None:
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._key is not None:
            headers |= self._key.headers(self._device_id, method, path, body)
        try:
            with self._client.stream(method, f"{self._url}{path}", content=body, headers=headers) as response:
                if response.headers.get("content-encoding", "identity") != "identity":
                    # A few bytes can unpack to any number.
                    raise DeviceRefusedError("the fleet's service sends what is packed; have the operator look at it")
                if not response.is_success:
                    largest_bytes, target = _LARGEST_ANSWER_BYTES, BytesIO()
                for block in response.iter_raw():
                    if target.tell() + len(block) > largest_bytes:
                        raise DeviceRefusedError(
                            f"the fleet's service sends more than the {largest_bytes:,} bytes that may come; "
                            "have the operator look at it"
                        )
                    target.write(block)
        except httpx.HTTPError as error:
            raise ServiceAway(
                f"the fleet's service at {self._url} cannot be reached ({error}); {_remedy(error)}",
                sent=not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout),
            ) from error
        if response.is_success:
            return
        target.seek(0)
        why = _said(target.read(), response.status_code)
        # Neither says anything about this device.
        if response.status_code >= 500 or response.status_code == _TOO_OFTEN:
            raise ServiceAway(f"the fleet's service at {self._url} cannot answer now ({why}); try again")
        if response.status_code == _WAITING:
            raise DeviceWaitingError(_line(why))
        if response.status_code == _CLOCK:
            raise DeviceClockError(_line(why))
        if response.status_code == _REVOKED:
            raise DeviceRevokedError(
                f"the fleet refused: {_line(why)}; to join again: fedaffect device revoke, then enroll"
            )
        raise DeviceRefusedError(f"the fleet refused: {why}")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> FleetService:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _said(answer: bytes, status: int) -> str:
    try:
        return str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}"


def _remedy(error: httpx.HTTPError) -> str:
    text = str(error)
    if "expired" in text:
        return "its certificate has expired, or the clock here is off; the operator renews it: fedaffect fleet rotate"
    if "CERTIFICATE_VERIFY_FAILED" in text or "certificate" in text:
        return "its certificate is not signed by the authority in --ca; get ca.pem from the operator"
    return "check the address, and that fedaffect fleet up runs"


def _line(text: str) -> str:
    """In one line, shortened."""
    return " ".join(text.split())[:_LONGEST_REASON]
