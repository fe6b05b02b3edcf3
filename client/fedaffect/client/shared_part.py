"""Which parameters of a model are shared with the server, and which stay on their client."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fedaffect.client.layout import ArrayLayout, Values
from fedaffect.edge.errors import ConfigError

# The last layer of every fusion model: from what it makes of a sample to class scores.
HEAD = "head."


@dataclass(frozen=True, slots=True)
class SharedPart:
    """The parameters that leave a client, in the order of the whole model.

    P is the number of all parameters, S that of the shared ones. Messages to clients carry all P, of which the
    personal ones are those that the run began with; what clients send back, sums, clips and masks has S.

    Parameters
    ----------
    whole : ArrayLayout
        Of all parameters.
    layout : ArrayLayout
        Of the shared ones.
    runs : tuple of slice
        Where those stand in the whole; neighbours are one run.
    own_runs : tuple of slice
        Where the personal ones stand.
    """

    whole: ArrayLayout
    layout: ArrayLayout
    runs: tuple[slice, ...]
    own_runs: tuple[slice, ...]

    @classmethod
    def of(cls, whole: ArrayLayout, personal: Sequence[str] = ()) -> SharedPart:
        """Split a model.

        Parameters
        ----------
        whole : ArrayLayout
        personal : sequence of str
            What the names of personal parameters begin with, such as ``head.``; none for a model that is shared whole.

        Raises
        ------
        ConfigError
            If the model has no such parameters, or no others.
        """
        stays = [name.startswith(tuple(personal)) for name in whole.names]
        if personal and (all(stays) or not any(stays)):
            what = "no layers beside" if all(stays) else "no layers named"
            raise ConfigError(
                f"this model has {what} {', '.join(f'{p}*' for p in personal)}, so nothing can be split into a shared "
                f"and a personal part; use --strategy ditto"
            )
        kept = [place for place, own in enumerate(stays) if not own]
        layout = ArrayLayout(tuple(whole.names[k] for k in kept), tuple(whole.shapes[k] for k in kept))
        return cls(whole, layout, _runs(whole, stays, False), _runs(whole, stays, True))

    def take(self, flat: Values) -> Values:
        """The shared parameters, (P,) -> (S,); ``flat`` itself where all are."""
        return _joined(flat, self.runs) if self.own_runs else flat

    def put(self, flat: Values, shared: Values) -> Values:
        """All parameters (P,), the shared ones from ``shared`` (S,) and the personal ones from ``flat`` (P,)."""
        return _written(flat, self.runs, shared) if self.own_runs else shared

    def take_own(self, flat: Values) -> Values:
        """The personal parameters, (P,) -> (P - S,)."""
        return _joined(flat, self.own_runs)

    def put_own(self, flat: Values, own: Values) -> Values:
        """All parameters (P,), the personal ones from ``own`` (P - S,) and the shared ones from ``flat`` (P,)."""
        return _written(flat, self.own_runs, own)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Names of the personal parameters."""
        return tuple(name for name in self.whole.names if name not in self.layout.names)


def _runs(whole: ArrayLayout, stays: Sequence[bool], wanted: bool) -> tuple[slice, ...]:
    found = []
    for own, group in itertools.groupby(range(len(stays)), key=lambda place: stays[place]):
        places = list(group)
        if own == wanted:
            found.append(slice(whole.offsets[places[0]], whole.offsets[places[-1] + 1]))
    return tuple(found)


def _joined(flat: Values, runs: Sequence[slice]) -> Values:
    parts = [flat[run] for run in runs]
    if isinstance(flat, np.ndarray):
        return np.concatenate(parts)
    import torch

    return torch.cat(parts)


def _written(flat: Values, runs: Sequence[slice], values: Values) -> Values:
    made, place = flat.copy() if isinstance(flat, np.ndarray) else flat.clone(), 0
    for run in runs:
        size = run.stop - run.start
        made[run] = values[place : place + size]
        place += size
    return made
