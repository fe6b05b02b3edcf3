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


class Operator:
    """Speaks to a fleet's service as its operator.

    Parameters
    ----------
    url : str
        ``https://HOST:PORT``.
    token : str
    authority : Path
        PEM that vouches for the service.
    """

    def __init__(self, url: str, token: str, authority: Path) -> None:
        self._url = url.rstrip("/")
        context = ssl.create_default_context(cafile=str(authority))
        self._client = httpx.Client(
            verify=context, timeout=_TIMEOUT_S, trust_env=False, headers={"authorization": f"Bearer {token}"}
        )

    @classmethod
    def of(cls, folder: FleetFolder) -> Operator:
        """The operator on the fleet's own machine."""
        return cls(folder.service, folder.operator_token(), folder.authority.certificate_path)

    def post(self, path: str, content: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Say something, and hear what the service answers.

        Raises
        ------
        FleetError
            If the service cannot be reached.
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
        if not response.is_success:
            raise ConfigError(str(answer.get("error", f"the fleet's service refused with {response.status_code}")))
        return answer

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
