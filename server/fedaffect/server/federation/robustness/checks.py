"""Checks of one client's update before anything is made of it; a rejected one costs its sender the round, no more."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from flwr.app import ArrayRecord
from torch import Tensor

from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import NUM_EXAMPLES, from_record
from fedaffect.edge.errors import ConfigError, FedAffectError

# Beyond any model that learns; sums of so large parameters could leave no room for other clients'.
_LARGEST_NORM = float(2**20)


class UpdateRejectedError(FedAffectError):
    """An update that the server will not aggregate."""


@dataclass(frozen=True, slots=True)
class UpdateChecks:
    """What every update that the server sees must hold.

    Names, shapes and dtype of the model's arrays, numbers that are numbers, weights that count something, and, where
    a bound is set, ``|trained - start| <= norm_bound`` over all parameters. Sun et al., "Can You Really Backdoor
    Federated Learning?" (2019) bound norms against boosted updates; here too large a one is dropped rather than
    scaled, since an honest client would not have sent it.

    Parameters
    ----------
    layout : ArrayLayout
    start : Tensor of float32, shape (P,), optional
        What the clients began from; needed for a bound.
    norm_bound : float
        Largest L2 norm of a change; 0 for none.
    """

    layout: ArrayLayout
    start: Tensor | None = None
    norm_bound: float = 0.0

    def __post_init__(self) -> None:
        if self.norm_bound and self.start is None:
            raise ConfigError("a norm bound needs the parameters that clients began from")

    def vector(self, record: ArrayRecord) -> Tensor:
        """The parameters of a record, (P,).

        Raises
        ------
        UpdateRejectedError
            If they do not fit the model, are no float32 or no numbers.
        """
        for name, array in record.items():
            if np.dtype(array.dtype) != np.float32:
                raise UpdateRejectedError(f"array {name!r} is {array.dtype}, this model wants float32")
        try:
            flat = from_record(self.layout, record)
        except (FedAffectError, ValueError, TypeError) as error:
            raise UpdateRejectedError(str(error)) from error
        if not float(flat.norm()) < _LARGEST_NORM:
            raise UpdateRejectedError("its parameters are huge; lower --lr")
        return flat

    def bounded(self, trained: Tensor) -> Tensor:
        """The same parameters, if they are within the bound.

        Raises
        ------
        UpdateRejectedError
            If they are not.
        """
        if self.norm_bound and self.start is not None:
            norm = float((trained - self.start).norm())
            if not norm <= self.norm_bound:
                raise UpdateRejectedError(
                    f"its update's norm {norm:.4g} is above {self.norm_bound:g} (--norm-bound); "
                    f"raise the bound if honest clients come so far"
                )
        return trained

    def weights(self, metrics: Mapping[str, Any]) -> None:
        """Check what an update claims to weigh, and its loss.

        Raises
        ------
        UpdateRejectedError
            If a count is no whole number of 0 or more, or the loss is no number.
        """
        for name, value in metrics.items():
            counts = name == NUM_EXAMPLES or name.startswith(f"{NUM_EXAMPLES}.")
            if counts and (not isinstance(value, int) or value < 0):
                raise UpdateRejectedError(f"it claims {value!r} examples ({name})")
        loss = metrics.get("train_loss", 0.0)
        if not isinstance(loss, int | float) or not math.isfinite(loss):
            raise UpdateRejectedError(f"its training loss is {loss}; lower --lr")
