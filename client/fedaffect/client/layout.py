"""The flat order in which the fusion layer's parameters lie, and who is weighted by what."""

from __future__ import annotations

import hashlib
import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor, nn

# Values of parameters, (P,), float32, as who trains them has them: a tensor of torch's, or an array on a device that
# has no torch. What only passes them on, or counts with them on their way out, takes either.
Values: TypeAlias = Any

ADAPTER_PREFIX = "adapters."
TRUNK = ""


@dataclass(frozen=True)
class ArrayLayout:
    """Names, shapes and places of the arrays that travel.

    A group is a run of parameters that is averaged with weights of its own: an adapter counts only the
    examples that had its modality, the trunk (group ``""``) counts all of them.

    Parameters
    ----------
    names : tuple of str
        Parameter names, in the module's order.
    shapes : tuple of tuple of int
        One a name.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, module: nn.Module) -> ArrayLayout:
        """The layout of a module's parameters."""
        named = list(module.named_parameters())
        return cls(tuple(n for n, _ in named), tuple(tuple(p.shape) for _, p in named))

    # Each is asked for many times a round.
    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of elements of each array."""
        return tuple(math.prod(shape) for shape in self.shapes)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        """Where each array starts; one more than there are arrays, the last being P."""
        return (0, *itertools.accumulate(self.sizes))

    @cached_property
    def size(self) -> int:
        """P, the number of parameters."""
        return sum(self.sizes)

    @cached_property
    def groups(self) -> tuple[tuple[str, slice], ...]:
        """Contiguous runs ``(group, slice)`` that cover 0..P."""
        runs: list[tuple[str, slice]] = []
        for name, start, stop in zip(self.names, self.offsets, self.offsets[1:], strict=False):
            group = name.split(".")[1] if name.startswith(ADAPTER_PREFIX) else TRUNK
            if runs and runs[-1][0] == group:
                runs[-1] = (group, slice(runs[-1][1].start, stop))
            else:
                runs.append((group, slice(start, stop)))
        return tuple(runs)

    def digest(self) -> str:
        """A short hash; two models with the same digest can exchange arrays."""
        return hashlib.sha256(repr((self.names, self.shapes)).encode()).hexdigest()[:16]

    def flatten(self, arrays: Mapping[str, NDArray[np.float32]]) -> Tensor:
        """:meth:`vector` as torch's tensor."""
        import torch

        return torch.from_numpy(self.vector(arrays))

    def vector(self, arrays: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Named arrays as one vector.

        Parameters
        ----------
        arrays : mapping of str to float array
            Exactly this layout's names and shapes, all finite.

        Returns
        -------
        float32 array, shape (P,)

        Raises
        ------
        ConfigError
            On a missing, extra, misshapen or non-finite array.
        """
        if missing := [n for n in self.names if n not in arrays]:
            raise ConfigError(f"arrays lack {missing[0]!r}; they come from another model (layout {self.digest()})")
        if extra := [n for n in arrays if n not in self.names]:
            raise ConfigError(f"arrays hold {extra[0]!r}, which this model lacks (layout {self.digest()})")
        vector = np.empty(self.size, np.float32)
        for name, shape, start, stop in zip(self.names, self.shapes, self.offsets, self.offsets[1:], strict=False):
            array = np.asarray(arrays[name])
            if array.shape != shape:
                raise ConfigError(f"array {name!r} has shape {array.shape}, this model wants {shape}")
            vector[start:stop] = array.reshape(-1)
        # One pass: a sum of squares is finite only if all values are; one that overflows is looked at closely.
        if not math.isfinite(_square(vector)) and not np.isfinite(vector).all():
            bad = next(n for n, a in arrays.items() if not np.isfinite(a).all())
            raise ConfigError(f"array {bad!r} holds NaN or infinity; lower the learning rate")
        return vector

    def unflatten(self, flat: Values) -> dict[str, NDArray[np.float32]]:
        """One vector as named arrays; they are views of it.

        Parameters
        ----------
        flat : Values, shape (P,)
        """
        vector = as_array(flat)
        return {
            name: vector[start:stop].reshape(shape)
            for name, shape, start, stop in zip(self.names, self.shapes, self.offsets, self.offsets[1:], strict=False)
        }


def as_array(values: Values) -> NDArray[np.float32]:
    """Values as an array that shares their memory, where that is this machine's."""
    array: NDArray[np.float32] = values if isinstance(values, np.ndarray) else values.detach().cpu().numpy()
    return array


def like(values: Values, other: Values) -> Values:
    """``other`` as what ``values`` are, a tensor or an array; it shares memory with what it is made of."""
    if isinstance(values, np.ndarray):
        return as_array(other)
    import torch

    return torch.as_tensor(other)


def _square(vector: NDArray[np.float32]) -> float:
    # What overflows is looked at closely, and says nothing before.
    with np.errstate(all="ignore"):
        return float(vector.dot(vector))
