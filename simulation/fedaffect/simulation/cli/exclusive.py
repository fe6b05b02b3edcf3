"""Flags that exclude each other, of the commands that run something."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedaffect.edge.errors import ConfigError

_EXCLUSIVE = (
    ("centralized", "local_only", "one is the upper bound and the other the lower; run them one after the other"),
    ("seed", "seeds", "give one seed or several"),
    ("resume", "overwrite", "one keeps the old run and the other deletes it"),
    ("resume", "name", "a resumed run keeps its name"),
    ("resume", "sweep", "run the same sweep command again with the same --name: finished members are skipped"),
    ("trials", "seeds", "a search compares trials of one seed; run the best again with --seeds"),
    ("trials", "overwrite", "a search goes on with its trials; choose another --name"),
    ("resume", "trials", "run the same search command again with the same --name: finished trials count"),
    ("resume", "seeds", "run the same command again with the same --name: finished members are skipped"),
)


def refuse_pairs(flags: Mapping[str, Any]) -> None:
    """Refuse flags that contradict one another, by name in snake_case.

    Raises
    ------
    ConfigError
        With what to do instead.
    """
    if flags.get("trials") and not flags.get("sweep"):
        raise ConfigError("--trials says how long to search, not where; add --sweep, such as --sweep lr=0.0001..0.01")
    for first, second, remedy in _EXCLUSIVE:
        if flags.get(first) not in (None, False, ()) and flags.get(second) not in (None, False, ()):
            names = (f"--{name.replace('_', '-')}" for name in (first, second))
            raise ConfigError(f"{' and '.join(names)} exclude each other: {remedy}")
