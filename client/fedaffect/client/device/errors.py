"""What a device cannot do, each with what to do about it."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class DeviceRefusedError(FedAffectError):
    """The fleet does not take this device: its token, its key or its clock."""


class ServiceAway(FedAffectError):
    """The fleet's service cannot be reached, or its certificate does not hold."""
