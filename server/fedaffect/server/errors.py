"""What can go wrong between a request and its answer; each face maps these to its own status codes."""

from __future__ import annotations

from fedaffect.edge.errors import FedAffectError


class ServingError(FedAffectError):
    """Root of what a caller of the cloud is told.

    Attributes
    ----------
    http_status : int
        REST's status.
    grpc_status : str
        Name of gRPC's status code.
    """

    http_status = 500
    grpc_status = "INTERNAL"


class InvalidRequest(ServingError):
    """The request cannot be answered as it is; the message says what to change."""

    http_status = 422
    grpc_status = "INVALID_ARGUMENT"


class NothingToGoBy(InvalidRequest):
    """Of nothing that was sent an encoder can make anything; the message says why, by modality."""


class RequestTooLarge(ServingError):
    """Body, duration, resolution or text beyond the limits."""

    http_status = 413
    grpc_status = "INVALID_ARGUMENT"


class Unauthenticated(ServingError):
    """No key, or one that is unknown, revoked or expired."""

    http_status = 401
    grpc_status = "UNAUTHENTICATED"


class Forbidden(ServingError):
    """The key lacks the scope."""

    http_status = 403
    grpc_status = "PERMISSION_DENIED"


class NotFound(ServingError):
    """No such model, bundle or request."""

    http_status = 404
    grpc_status = "NOT_FOUND"


class Conflict(ServingError):
    """What is asked for does not fit what is there by now; ask how it stands and go on from there."""

    http_status = 409
    grpc_status = "FAILED_PRECONDITION"


class Overloaded(ServingError):
    """The queue is full or the key's rate is spent; come back after ``retry_after_s``."""

    http_status = 429
    grpc_status = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ServingError):
    """Draining, or no model is loaded."""

    http_status = 503
    grpc_status = "UNAVAILABLE"


class DeadlinePassed(ServingError):
    """The caller's time was over before the answer was there."""

    http_status = 504
    grpc_status = "DEADLINE_EXCEEDED"
