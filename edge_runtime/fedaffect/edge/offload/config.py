"""What decides whether the cloud is asked, as numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from fedaffect.edge.errors import ConfigError
from fedaffect.edge.offload.breaker import BreakerConfig
from fedaffect.edge.offload.pooling import CLOUD_SHARE
from fedaffect.edge.subsets import DEFAULT, subset_key

# What may leave the device: the media, only what the encoders made of them, nothing.
PRIVACIES: Final = ("raw", "features", "never")


@dataclass(frozen=True, slots=True)
class OffloadConfig:
    """Settings of an `OffloadPolicy`.

    Parameters
    ----------
    thresholds : mapping of str to float
        Confidence below which the cloud is asked, by modality subset (``text+audio``); ``default`` stands for those
        not named. What `fedaffect edge calibrate` writes into a bundle fits here. Above 1, every request is unsure.
    expected_round_trip_ms : float
        Assumed before enough calls were measured.
    round_trip_quantile : float
        Of the measured round trips, in (0, 1], which the deadline must leave time for.
    deadline_margin_ms : float
        Time that must be left beside it.
    calls_per_minute, bytes_per_minute : int, optional
        What a minute allows; None for no limit.
    cloud_share : float
        Weight of the cloud in the answer, where it was asked; the device's own has the rest. 1 takes the cloud's alone.
    breaker : BreakerConfig
        When a cloud that fails is left alone.
    """

    thresholds: Mapping[str, float] = field(default_factory=lambda: {DEFAULT: 0.5})
    expected_round_trip_ms: float = 300.0
    round_trip_quantile: float = 0.9
    deadline_margin_ms: float = 5.0
    calls_per_minute: int | None = 60
    bytes_per_minute: int | None = None
    cloud_share: float = CLOUD_SHARE
    breaker: BreakerConfig = field(default_factory=BreakerConfig)

    def __post_init__(self) -> None:
        object.__setattr__(self, "thresholds", {DEFAULT: 0.5} | dict(self.thresholds))
        for subset, threshold in self.thresholds.items():
            if not (math.isfinite(threshold) and threshold >= 0):
                raise ConfigError(f"the threshold of {subset!r} is a number of 0 or more, not {threshold}")
            if subset != DEFAULT and subset_key(subset.split("+")) != subset:
                raise ConfigError(f"{subset!r} is no subset's key; write it {subset_key(subset.split('+'))!r}")
        if not 0 <= self.cloud_share <= 1:
            raise ConfigError(f"the cloud's share of an answer lies in [0, 1], not at {self.cloud_share}")
        for name in ("expected_round_trip_ms", "deadline_margin_ms"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ConfigError(f"{name} is a number of 0 or more, not {getattr(self, name)}")

    def threshold(self, modalities: Iterable[str]) -> float:
        """Confidence below which the cloud is asked for a request of these modalities."""
        return self.thresholds.get(subset_key(modalities), self.thresholds[DEFAULT])
