"""Why a request was answered where it was."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """What settled where a request is answered; the value is what `Prediction.offload_reason` says."""

    CONFIDENT = "confident"
    UNSURE = "unsure"
    NOTHING_USABLE = "nothing-usable"
    NO_CLOUD = "no-cloud"
    PRIVACY = "privacy"
    DEADLINE = "deadline"
    BUDGET = "budget"
    CIRCUIT_OPEN = "circuit-open"
    CLOUD_FAILED = "cloud-failed"
    CONVERSATION = "conversation"


@dataclass(frozen=True, slots=True)
class Decision:
    """Where a request is answered, and why.

    Parameters
    ----------
    offload : bool
        Whether the cloud is asked.
    reason : Reason
        The first thing that settled it.
    detail : str
        A sentence with the figures.
    """

    offload: bool
    reason: Reason
    detail: str
