"""Figures of a split as a person reads them; apart from what computes them, so that help comes at once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Names by key, in the order of tables.
FIGURES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "uar": "UAR",
        "accuracy": "accuracy",
        "weighted_f1": "weighted F1",
        "macro_f1": "macro F1",
        "macro_precision": "macro precision",
        "macro_recall": "macro recall",
        "loss": "cross-entropy",
    }
)
# Of ratings, means over those that are learned.
RATING_FIGURES: Final[Mapping[str, str]] = MappingProxyType({"ccc": "CCC", "mae": "MAE"})
# What may choose the best round.
CHOSEN_BY: Final[Mapping[str, str]] = MappingProxyType({**FIGURES, "ccc": RATING_FIGURES["ccc"]})
