"""The way to the cloud: the protocol, and a client for each transport."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from fedaffect.edge.cloud.client import CloudClient, TlsSettings
from fedaffect.edge.cloud.errors import (
    CloudBusy,
    CloudError,
    CloudGarbage,
    CloudRefused,
    CloudTimeout,
    CloudUnreachable,
)

if TYPE_CHECKING:
    from fedaffect.edge.cloud.connecting import connect
    from fedaffect.edge.cloud.grpc_client import GrpcCloud
    from fedaffect.edge.cloud.rest_client import RestCloud

__all__ = [
    "CloudBusy",
    "CloudClient",
    "CloudError",
    "CloudGarbage",
    "CloudRefused",
    "CloudTimeout",
    "CloudUnreachable",
    "GrpcCloud",
    "RestCloud",
    "TlsSettings",
    "connect",
]


def __getattr__(name: str) -> Any:
    # grpcio and httpx take a third of a second to import, which a device that never asks the cloud need not spend.
    match name:
        case "GrpcCloud":
            return import_module("fedaffect.edge.cloud.grpc_client").GrpcCloud
        case "RestCloud":
            return import_module("fedaffect.edge.cloud.rest_client").RestCloud
        case "connect":
            return import_module("fedaffect.edge.cloud.connecting").connect
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
