"""Names of modality subsets, as a bundle's calibration uses them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import combinations
from typing import Final

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.sample import MODALITIES

# Stands among thresholds for every subset that is not named.
DEFAULT: Final = "default"


def subset_key(modalities: Iterable[str]) -> str:
    """The name of a subset: its modalities in the order of ``MODALITIES``, joined by ``+``.

    Raises
    ------
    ConfigError
        If it is empty or holds a name that is no modality.
    """
    names = {*modalities}
    if not names:
        raise ConfigError(f"a subset of no modality has no name; give one or more of {', '.join(MODALITIES)}")
    for name in sorted(names - {*MODALITIES}):
        raise unknown_name("modality", name, MODALITIES)
    return "+".join(m for m in MODALITIES if m in names)


# Every name there is.
SUBSETS: Final = tuple(
    subset_key(chosen) for size in range(1, len(MODALITIES) + 1) for chosen in combinations(MODALITIES, size)
)
