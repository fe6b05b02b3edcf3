"""Whether what a partitioner from outside returns is a partition of the rows that it was given."""

from __future__ import annotations

from typing import Any

import numpy as np

from fedaffect.edge.errors import ConfigError
from fedaffect.simulation.partition.rows import Partition, Rows


def checked(divided: Any, rows: Rows, what: str) -> Partition:
    """The partition, if it is one.

    Parameters
    ----------
    divided : object
        What ``divide`` returned.
    rows : Rows
        What it was given.
    what : str
        For error messages: ``partition 'mine:3'``.

    Raises
    ------
    ConfigError
        Saying which rows of which client are wrong.
    """
    if not isinstance(divided, Partition):
        raise ConfigError(
            f"{what} returns a {type(divided).__name__}; return Partition.of_clients(rows, clients, names)"
        )
    for name in ("offsets", "rows", "excluded"):
        array = getattr(divided, name)
        if not isinstance(array, np.ndarray) or array.dtype != np.int64 or array.ndim != 1:
            shown = f"{array.dtype} of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__
            raise ConfigError(f"{what}: {name} is {shown}; return an int64 array of one dimension")
    offsets = divided.offsets
    if offsets[0] != 0 or offsets[-1] != len(divided.rows) or (np.diff(offsets) < 0).any():
        raise ConfigError(
            f"{what}: offsets run from {offsets[0]} to {offsets[-1]} for {len(divided.rows)} rows; "
            f"they ascend from 0 to the number of rows"
        )
    for client, name in enumerate(divided.names):
        _check_rows(f"{what}: client {name!r}", divided.rows_of(client))
    _check_members(what, divided, rows)
    return divided


def _check_rows(what: str, held: np.ndarray[Any, np.dtype[np.int64]]) -> None:
    if (np.diff(held) < 0).any():
        raise ConfigError(f"{what} holds its rows in no order; sort them, as Partition.of_clients does")


def _check_members(what: str, divided: Partition, rows: Rows) -> None:
    """Only training rows, each held once; only dev and test rows excluded; each name once."""
    if len(set(divided.names)) < len(divided.names) or not all(isinstance(name, str) for name in divided.names):
        raise ConfigError(f"{what}: clients need names that differ, as strings")
    untrained = np.setdiff1d(divided.rows, rows.training)
    if len(untrained):
        raise ConfigError(
            f"{what} gives out {len(untrained)} rows that are not for training, the first {untrained[0]}; "
            f"divide rows.training only"
        )
    held, times = np.unique(divided.rows, return_counts=True)
    twice = held[times > 1]
    if len(twice):
        raise ConfigError(
            f"{what} gives {len(twice)} rows to more than one client, the first {twice[0]}; give each row once"
        )
    evaluated = np.concatenate([rows.of_split("dev"), rows.of_split("test")])
    outside = np.setdiff1d(divided.excluded, evaluated)
    if len(outside):
        raise ConfigError(f"{what} excludes {len(outside)} rows of neither dev nor test, the first {outside[0]}")
