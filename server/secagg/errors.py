"""What ends an attempt, or a round."""

from __future__ import annotations

from edge_runtime.errors import TrainingError


class AttemptFailedError(TrainingError):
    """Too few clients went on; nothing was unmasked, so that the round may be tried again with fresh keys."""


class RoundAbandonedError(TrainingError):
    """Too few clients went on after unmasking had begun: another sum over the round's updates must never exist."""
