"""What is learned of a sample besides its class: ratings, each with a head of its own beside the classes' heads.

A model's last layer has a row for each class and one for each rating, so that a fusion whose answers are linear in
its last layer learns ratings as it is; one that mixes class probabilities leaves ratings out of that
(`fedaffect.client.models.log_shares`). What was not rated is not a number (NaN), and counts nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from fedaffect.edge.errors import ConfigError, unknown_name

CLASS: Final = "class"
# What ``--targets`` takes, and the ratings that each stands for.
GROUPS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        CLASS: (),
        "va": ("valence", "arousal"),
        "vad": ("valence", "arousal", "dominance"),
        "intensity": ("intensity",),
    }
)


def rating_names(targets: Iterable[str]) -> tuple[str, ...]:
    """Ratings that some targets stand for, each once.

    Parameters
    ----------
    targets : iterable of str
        Keys of `GROUPS`; ``class`` is always among them.

    Raises
    ------
    ConfigError
        If one is unknown, or ``class`` is not there.
    """
    given = tuple(targets)
    for one in given:
        if one not in GROUPS:
            raise unknown_name("target", one, GROUPS)
    if CLASS not in given:
        raise ConfigError(f"the class is always learned; give --targets {','.join((CLASS, *given))}")
    return tuple(dict.fromkeys(name for one in given for name in GROUPS[one]))
