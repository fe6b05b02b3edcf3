"""What a strategy remembers from round to round, as plain arrays that a checkpoint can hold, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord
from flwr.serverapp.strategy import Strategy
from numpy.typing import NDArray

from fedaffect.edge.errors import RunError

# Shape of a remembered value -> its place in a checkpoint's JSON.
_NONE, _ARRAY, _LIST, _DICT, _RECORD = "none", "array", "list", "dict", "record"


def save_state(
    strategy: Strategy, attributes: Sequence[str]
) -> tuple[dict[str, NDArray[Any]], dict[str, dict[str, Any]]]:
    """Take a strategy's memory out.

    Parameters
    ----------
    strategy : Strategy
    attributes : sequence of str
        Names of the attributes that carry it.

    Returns
    -------
    arrays : dict of str to array
        Bit for bit, named ``attribute/key``.
    shape : dict
        JSON that says how to put them together again.
    """
    arrays: dict[str, NDArray[Any]] = {}
    shape: dict[str, dict[str, Any]] = {}
    for attribute in attributes:
        kind, named = _take_apart(getattr(strategy, attribute))
        shape[attribute] = {"kind": kind, "keys": list(named)}
        arrays.update({f"{attribute}/{key}": value for key, value in named.items()})
    return arrays, shape


def restore_state(
    strategy: Strategy, arrays: Mapping[str, NDArray[Any]], shape: Mapping[str, Mapping[str, Any]]
) -> None:
    """Put a strategy's memory back.

    Raises
    ------
    RunError
        If the checkpoint lacks an array or was left by another strategy.
    """
    for attribute, entry in shape.items():
        if not hasattr(strategy, attribute):
            raise RunError(f"the checkpoint holds {attribute!r}, which this strategy has not; resume the same strategy")
        try:
            named = {key: arrays[f"{attribute}/{key}"] for key in entry["keys"]}
        except KeyError as error:
            raise RunError(f"the checkpoint lacks the strategy's {error}; resume from an earlier one") from error
        setattr(strategy, attribute, _put_together(str(entry["kind"]), named))


def _take_apart(value: Any) -> tuple[str, dict[str, NDArray[Any]]]:
    if value is None:
        return _NONE, {}
    if isinstance(value, np.ndarray):
        return _ARRAY, {"value": value}
    if isinstance(value, ArrayRecord):
        return _RECORD, {key: array.numpy() for key, array in value.items()}
    if isinstance(value, Mapping):
        return _DICT, {str(key): np.asarray(array) for key, array in value.items()}
    return _LIST, {str(place): np.asarray(array) for place, array in enumerate(value)}


def _put_together(kind: str, named: Mapping[str, NDArray[Any]]) -> Any:
    if kind == _NONE:
        return None
    if kind == _ARRAY:
        return named["value"]
    if kind == _RECORD:
        return ArrayRecord({key: Array(array) for key, array in named.items()})
    return dict(named) if kind == _DICT else list(named.values())
