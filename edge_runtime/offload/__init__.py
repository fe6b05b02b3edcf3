"""Whether a request goes to the cloud: one small object that decides and says why."""

from edge_runtime.offload.breaker import BreakerConfig, Circuit, CircuitBreaker
from edge_runtime.offload.budget import Budget
from edge_runtime.offload.config import PRIVACIES, OffloadConfig
from edge_runtime.offload.policy import OffloadPolicy, OffloadState
from edge_runtime.offload.quantile import RunningQuantile
from edge_runtime.offload.reason import Decision, Reason

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
