"""Decides whether a sample goes to the cloud, and says why."""

from fedaffect.edge.offload.breaker import BreakerConfig, Circuit, CircuitBreaker
from fedaffect.edge.offload.budget import Budget
from fedaffect.edge.offload.config import PRIVACIES, OffloadConfig
from fedaffect.edge.offload.policy import OffloadPolicy, OffloadState
from fedaffect.edge.offload.quantile import RunningQuantile
from fedaffect.edge.offload.reason import Decision, Reason

__all__ = [
    "PRIVACIES",
    "BreakerConfig",
    "Budget",
    "Circuit",
    "CircuitBreaker",
    "Decision",
    "OffloadConfig",
    "OffloadPolicy",
    "OffloadState",
    "Reason",
    "RunningQuantile",
]
