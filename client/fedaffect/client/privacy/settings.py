"""What protects a client's update, as it travels in a round's message."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from fedaffect.client.privacy.accounting import ACCOUNTANTS, RDP
from fedaffect.client.privacy.clip_bounds import CLIPPINGS, FLAT
from fedaffect.edge.errors import ConfigError, unknown_name

LOCAL, CENTRAL = "local", "central"
KINDS = (LOCAL, CENTRAL)
FAST, OPACUS = "fast", "opacus"
ENGINES = (FAST, OPACUS)
SECURE, SEEDED = "secure", "seeded"
NOISES = (SECURE, SEEDED)
PREFIX = "dp-"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyConfig:
    """Differential privacy of one client's training.

    Parameters
    ----------
    kind : {"local", "central"}
        ``local``: the client adds noise to every step, and one utterance is protected from those who see the update,
        the server included. ``central``: the client clips its whole update and the server adds noise to the sum, and
        one client is protected from those who see the model, not from the server.
    clip_norm : float
        C, the largest 2-norm of an example's gradient (local) or of a client's update (central).
    clipping : {"flat", "per-layer", "ghost"}
        Of example gradients.
    epsilon, delta : float
        What a client may spend over ``participations`` rounds; local.
    participations : int
        Rounds that a client takes part in at most; local.
    accountant : {"rdp", "prv"}
    noise_multiplier : float
        z; 0 solves it from the target.
    engine : {"fast", "opacus"}
        What sums clipped gradients. Both give the same sums within rounding.
    noise : {"secure", "seeded"}
        Seeded noise and draws repeat a run and protect nobody.
    """

    kind: str = LOCAL
    clip_norm: float = 1.0
    clipping: str = FLAT
    epsilon: float = math.inf
    delta: float = 1e-5
    participations: int = 1
    accountant: str = RDP
    noise_multiplier: float = 0.0
    engine: str = FAST
    noise: str = SECURE

    def __post_init__(self) -> None:
        for name, value, known in (
            ("kind of privacy", self.kind, KINDS),
            ("clipping", self.clipping, CLIPPINGS),
            ("accountant", self.accountant, ACCOUNTANTS),
            ("dp engine", self.engine, ENGINES),
            ("dp noise", self.noise, NOISES),
        ):
            if value not in known:
                raise unknown_name(name, value, known)
        if not (math.isfinite(self.clip_norm) and self.clip_norm > 0):
            raise ConfigError(f"--clip-norm must be above 0, not {self.clip_norm}; 1 is usual")
        if not self.epsilon > 0 or not 0 < self.delta < 1:
            raise ConfigError("--epsilon is above 0 and --delta between 0 and 1, such as 8 and 1e-5")
        if self.participations < 1 or self.noise_multiplier < 0:
            raise ConfigError("a client takes part in 1 round or more, with a noise multiplier of 0 or more")

    @property
    def private(self) -> bool:
        """Whether this protects anybody: not with noise that others can draw again, nor with none."""
        return self.noise == SECURE and (self.noise_multiplier > 0 or math.isfinite(self.epsilon))

    def to_record(self) -> dict[str, int | float | str]:
        """Flat settings for a Flower ConfigRecord, each under ``dp-``."""
        return {PREFIX + f.name.replace("_", "-"): getattr(self, f.name) for f in fields(self)}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> PrivacyConfig | None:
        """Read settings back; None where a message speaks of no privacy."""
        if f"{PREFIX}kind" not in record:
            return None
        return cls(**{f.name: record[key] for f in fields(cls) if (key := PREFIX + f.name.replace("_", "-")) in record})
