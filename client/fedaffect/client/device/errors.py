"""Errors of a device."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class DeviceRefusedError(FedAffectError):
    """The fleet refuses this device: its token or its key."""


class DeviceRevokedError(DeviceRefusedError):
    """The fleet has revoked this device; it learns again only once it is enrolled again."""


class MisfitError(FedAffectError):
    """A round is not one that this device's examples fit: other labels, other encoders, a model of other shapes."""


class ServiceAway(FedAffectError):
    """The fleet's service cannot be reached, or its certificate is not valid.

    Parameters
    ----------
    message : str
    sent : bool
        Whether the request may have reached the service.
    """

    def __init__(self, message: str, *, sent: bool = True) -> None:
        super().__init__(message)
        self.sent = sent


class DeviceWaitingError(ServiceAway):
    """The fleet's operator has not approved this device yet; the service is there for it once that is done."""


class DeviceClockError(ServiceAway):
    """The clock of this device, or of the fleet's service, is minutes off; tried again until that is put right."""
