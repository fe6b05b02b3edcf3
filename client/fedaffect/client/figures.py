"""Figures of a split as a person reads them; apart from what computes them, so that help comes at once."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

# Names by key, in the order of tables.
FIGURES: Final[Mapping[str, str]] = MappingProxyType(
    {"uar": "UAR", "accuracy": "accuracy", "weighted_f1": "weighted F1", "macro_f1": "macro F1"}
)
