"""The way to the cloud: the protocol, and a client for each of its faces."""

from edge_runtime.cloud.client import CloudClient, TlsSettings
from edge_runtime.cloud.errors import (
    CloudBusy,
    CloudError,
    CloudGarbage,
    CloudRefused,
    CloudTimeout,
    CloudUnreachable,
)

__all__ = [
    "CloudBusy",
    "CloudClient",
    "CloudError",
    "CloudGarbage",
    "CloudRefused",
    "CloudTimeout",
    "CloudUnreachable",
    "TlsSettings",
]
