"""The operator's side of the service: HTTPS with the token."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

from fedaffect.edge.errors import ConfigError
from fedaffect.server.fleet.errors import FleetError
from fedaffect.server.fleet.setup.folder import FleetFolder

_TIMEOUT_S: Final = 60.0
_SERVER_ERROR: Final = 500


class Operator:
    """Sends the operator's requests to a fleet's service.

    Parameters
    ----------
    url : str
        ``https://HOST:PORT``.
    token : str
    authority : Path
        PEM of the authority that signed the service's certificate.
    timeout_s : float
        How long an answer is waited for.
    """

    def __init__(self, url: str, token: str, authority: Path, timeout_s: float = _TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        context = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(
            verify=context, timeout=timeout_s, trust_env=False, headers={"authorization": f"Bearer {token}"}
        )

    @classmethod
    def of(cls, folder: FleetFolder, timeout_s: float = _TIMEOUT_S) -> Operator:
        """The operator on the fleet's own machine."""
        return cls(folder.service, folder.operator_token(), folder.authority.certificate_path, timeout_s)

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Send a request; the service's answer.

        Raises
        ------
        FleetError
            If the service cannot be reached, or cannot answer now.
        ConfigError
            If it refuses; the message says why.
        """
        try:
            response = self._client.post(f"{self._url}{path}", json=dict(content or {}))
        except httpx.HTTPError as error:
            raise FleetError(
                f"the fleet's service at {self._url} does not answer ({error}); start it: fedaffect fleet up"
            ) from error
        answer: dict[str, Any] = response.json() if "json" in response.headers.get("content-type", "") else {}
        if response.status_code >= _SERVER_ERROR:
            why = answer.get("error", f"status {response.status_code}")
            raise FleetError(f"the fleet's service at {self._url} cannot answer now ({why})")
        if not response.is_success:
            raise ConfigError(str(answer.get("error", f"the fleet's service refused with {response.status_code}")))
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
