"""How the driver of runs does, as status and readiness show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Longer than any pass whose requests all take as long as they may.
_STUCK_S: Final = 120.0
REGISTRY: Final = "registry"


@dataclass(frozen=True, slots=True)
class DriverState:
    """How the driver does.

    Parameters
    ----------
    alive : bool
        Whether its thread is there.
    looked_s_ago : float
        Seconds since it ended a pass.
    restarts : int
        How often its thread was started again.
    failures : dict of str to str
        What it cannot do now, by subject: a device, a run, the registry.
    failed : int
        Failures since the service began.
    """

    alive: bool
    looked_s_ago: float
    restarts: int
    failures: dict[str, str]
    failed: int

    @property
    def problem(self) -> str:
        """Why runs do not go on, all of them; empty where they do."""
        if not self.alive:
            return "the driver of runs has ended; restart fedaffect fleet up"
        if self.looked_s_ago > _STUCK_S:
            return f"the driver of runs has looked at none for {self.looked_s_ago:.0f} s; see the service's log"
        return self.failures.get(REGISTRY, "")
