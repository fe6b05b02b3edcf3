"""What ends an attempt, or a round."""

from __future__ import annotations

from collections.abc import Sequence

from fedaffect.edge.errors import TrainingError
from fedaffect.server.federation.failures import RoundFailedError


class AttemptFailedError(RoundFailedError):
    """Too few clients went on; nothing was unmasked, so that the round may be tried again with fresh keys."""


class RoundAbandonedError(TrainingError):
    """A round ends without a sum, and its parameters stay: unmasking had begun, or nearly everybody refused.

    Parameters
    ----------
    message : str
    refusals : sequence of (int, str)
        Clients that refused, with their reasons.
    """

    def __init__(self, message: str, refusals: Sequence[tuple[int, str]] = ()) -> None:
        super().__init__(message)
        self.refusals = list(refusals)
