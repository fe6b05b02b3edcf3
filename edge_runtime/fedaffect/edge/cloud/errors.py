"""What can go wrong between a device and the cloud; the device answers by itself in every case."""

from __future__ import annotations

from typing import Final

from fedaffect.edge.errors import FedAffectError

# About the device's key or the moment, not about the request.
_MAY_PASS: Final = (401, 403, 501)


class CloudError(FedAffectError):
    """Root of whatever keeps the cloud from answering."""


class CloudUnreachable(CloudError):
    """No connection, a broken one, or a cloud that is starting, draining or without a model."""


class CloudTimeout(CloudError):
    """The deadline passed before the answer was there."""


class CloudRefused(CloudError):
    """The cloud does not want this request.

    Attributes
    ----------
    status : int
        As HTTP numbers it, whichever face answered: 401 no valid key, 403 the key may not, 404 no such thing,
        413 too large, 422 not answerable as it is.
    """

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status

    @property
    def for_good(self) -> bool:
        """Whether the same request will be refused again, whoever sends it and whenever."""
        return self.status not in _MAY_PASS


class CloudBusy(CloudError):
    """The queue is full or the key's rate is spent.

    Attributes
    ----------
    retry_after_s : float
        When to come back; 0 where the cloud does not say.
    """

    def __init__(self, message: str, retry_after_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class CloudGarbage(CloudError):
    """It answered, but with an internal error or with what the protocol does not allow."""
