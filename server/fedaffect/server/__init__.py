"""What the cloud does: aggregation, evaluation, building of bundles."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedaffect.edge.lazy_names import lazy_names

if TYPE_CHECKING:
    from fedaffect.server.federation.observer import Observer, RoundRecord
    from fedaffect.server.federation.strategies.flower import EVERYBODY
    from fedaffect.server.federation.strategies.registry import StrategyEntry

__all__ = ["EVERYBODY", "Observer", "RoundRecord", "StrategyEntry"]

# Loaded when asked for: most who import a part of this room need no Flower for it.
__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "fedaffect.server.federation.observer": ("Observer", "RoundRecord"),
        "fedaffect.server.federation.strategies.flower": ("EVERYBODY",),
        "fedaffect.server.federation.strategies.registry": ("StrategyEntry",),
    },
)
