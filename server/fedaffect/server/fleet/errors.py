"""What a fleet refuses or cannot do now."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class FleetError(FedAffectError):
    """Root of what the fleet refuses."""


class RunDamaged(FleetError):
    """The arrays on the disk are not those that the registry has committed."""


class TooFewDevices(FleetError):
    """Fewer devices than a round needs were there for as long as the operator wanted to wait."""


class RegionError(FleetError):
    """A region cannot carry an order of its root out."""


class NobodyLearned(FleetError):
    """A run is over and no device's update is in its model."""


class TooManyRequests(FleetError):
    """Unauthenticated callers ask too often.

    Parameters
    ----------
    message : str
    retry_after_s : int
        When to try again.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class NotAuthorised(FleetError):
    """The operator's token or a device's signature is missing, wrong, too old or used before."""


class ClockOff(NotAuthorised):
    """The clock of the device that asks, or of the service, is wrong; once it is right, the device is let in."""


class DeviceWaiting(FleetError):
    """The operator has not approved the device that asks yet."""


class DeviceRevoked(NotAuthorised):
    """The operator or its user revoked the device that asks."""
