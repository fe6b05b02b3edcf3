"""What differential privacy does in a round, as the loop sees it; a run without any has :class:`NoPrivacy`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from flwr.app import Message
from torch import Tensor

from fedaffect.client.privacy.settings import SECURE, PrivacyConfig
from fedaffect.server.federation.aggregation import RoundReplies
from fedaffect.server.federation.privacy.checks import default_clipping
from fedaffect.server.federation.settings import RunSettings


class PrivacyMechanism(Protocol):
    """A run's privacy."""

    @property
    def sampling(self) -> Callable[[int], tuple[int, ...]] | None:
        """Draws the partition ids of a round; None where privacy does not decide who takes part."""

    @property
    def uniform(self) -> bool:
        """Whether every client weighs one, whatever it says."""

    @property
    def hides_figures(self) -> bool:
        """Whether no client's loss or accuracy may be asked for: no budget covers them."""

    def client_settings(self) -> PrivacyConfig | None:
        """What the round's clients are asked to do for it."""

    def update_norm(self) -> float:
        """The norm that clients clip a whole update to in this round; 0 where they do not."""

    def aggregate(self, number: int, received: RoundReplies, current: Tensor) -> list[Message]:
        """A round's replies as the strategy gets them, protected; none where the parameters stay as they are."""

    def round_metrics(self, rounds: int) -> Mapping[str, float | None] | None:
        """The ``privacy`` part of a round's line, after this many rounds."""

    def summary(self, rounds: int) -> dict[str, Any]:
        """What the summary says after this many rounds: ``privacy``, or nothing."""

    def restore(self, metrics: Mapping[str, Any] | None) -> None:
        """Go on after a round whose line had these."""

    def finish(self) -> None:
        """The run is over."""


class NoPrivacy:
    """Updates count as they come."""

    sampling: Callable[[int], tuple[int, ...]] | None = None
    uniform = False
    hides_figures = False

    def client_settings(self) -> PrivacyConfig | None:
        """Nothing."""
        return None

    def update_norm(self) -> float:
        """No bound."""
        return 0.0

    def aggregate(self, number: int, received: RoundReplies, current: Tensor) -> list[Message]:
        """The replies as they are."""
        return received.for_strategy(current)

    def round_metrics(self, rounds: int) -> Mapping[str, float | None] | None:
        """Nothing."""
        return None

    def summary(self, rounds: int) -> dict[str, Any]:
        """Nothing."""
        return {}

    def restore(self, metrics: Mapping[str, Any] | None) -> None:
        """Nothing to restore."""

    def finish(self) -> None:
        """Nothing to end."""


def described(config: RunSettings, unit: str, spent: float) -> dict[str, Any]:
    """What both kinds of privacy say in a summary."""
    return {
        "kind": config.privacy.dp,
        "unit": unit,
        "epsilon": finite(spent),
        "delta": config.privacy.delta,
        "target_epsilon": finite(math.inf if config.privacy.epsilon is None else config.privacy.epsilon),
        "accountant": config.privacy.accountant,
        "clipping": {
            "kind": config.privacy.clipping or default_clipping(str(config.privacy.dp)),
            "norm": config.privacy.clip_norm,
        },
        "private": config.privacy.dp_noise == SECURE and math.isfinite(spent),
    }


def finite(value: float) -> float | None:
    """None for infinity, which JSON has no word for."""
    return value if math.isfinite(value) else None
