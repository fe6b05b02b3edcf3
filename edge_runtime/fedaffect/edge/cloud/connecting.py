"""A client for an address."""

from __future__ import annotations

from urllib.parse import urlsplit

from fedaffect.edge.cloud.client import CloudClient, TlsSettings
from fedaffect.edge.cloud.grpc_client import GrpcCloud
from fedaffect.edge.cloud.rest_client import RestCloud
from fedaffect.edge.errors import ConfigError


def connect(address: str, api_key: str | None = None, tls: TlsSettings | None = None) -> CloudClient:
    """Open the cloud at an address; nothing is sent yet.

    Parameters
    ----------
    address : str
        ``grpc://HOST:PORT``, ``grpcs://HOST:PORT`` (TLS), ``http://HOST:PORT`` or ``https://HOST:PORT``.
    api_key : str, optional
    tls : TlsSettings, optional
        For ``grpcs`` and ``https``.

    Raises
    ------
    ConfigError
        If the address is of no known kind, or TLS settings come with one that uses none.
    """
    try:
        parts = urlsplit(address)
        scheme, target = parts.scheme, parts.netloc
    except ValueError:
        scheme, target = "", ""
    if scheme in ("http", "https"):
        return RestCloud(address, api_key, tls)
    if scheme not in ("grpc", "grpcs") or not target:
        raise ConfigError(f"{address!r} is no address of a cloud; give grpc://, grpcs://, http:// or https://HOST:PORT")
    if scheme == "grpcs":
        return GrpcCloud(target, api_key, tls or TlsSettings())
    if tls is not None:
        raise ConfigError(f"TLS settings are given, but {address!r} uses none; write grpcs://{target}")
    return GrpcCloud(target, api_key)
