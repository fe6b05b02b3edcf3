"""Partitions by specification: ``natural``, ``iid:100``, ``dirichlet:0.5:100``, and a user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from types import MappingProxyType

from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.simulation.partition.natural import fedmultimodal, natural
from fedaffect.simulation.partition.rows import Partition, Rows
from fedaffect.simulation.partition.skew import dirichlet, iid, quantity, shards

GROUP = "fedaffect.partitioners"


@dataclass(frozen=True, slots=True)
class Partitioner:
    """A way to divide training rows among clients.

    Parameters
    ----------
    name : str
        What a specification begins with.
    divide : callable
        ``divide(rows, seed, *arguments) -> Partition``, the same for the same arguments.
    arguments : sequence of (str, type)
        Names and types, ``int`` or ``float``, of what follows the name, separated by colons; all are above 0.
    example : str
        A specification.
    """

    name: str
    divide: Callable[..., Partition]
    arguments: Sequence[tuple[str, type]] = ()
    example: str = ""

    @property
    def usage(self) -> str:
        """Form and example, for error messages."""
        form = ":".join([self.name, *(name.upper() for name, _ in self.arguments)])
        return f"{form} (such as {self.example})" if self.example and self.example != form else form


_CLIENTS = ("clients", int)
_ALPHA = ("alpha", float)

PARTITIONERS: Mapping[str, Partitioner] = MappingProxyType(
    {
        p.name: p
        for p in (
            Partitioner("natural", natural),
            Partitioner("fedmultimodal", fedmultimodal),
            Partitioner("iid", iid, (_CLIENTS,), "iid:100"),
            Partitioner("dirichlet", dirichlet, (_ALPHA, _CLIENTS), "dirichlet:0.5:100"),
            Partitioner("quantity", quantity, (_ALPHA, _CLIENTS), "quantity:0.5:100"),
            Partitioner("shards", shards, (("shards", int), _CLIENTS), "shards:2:100"),
        )
    }
)


def partition(spec: str, rows: Rows, seed: int) -> Partition:
    """Divide the training rows of a corpus among clients.

    Parameters
    ----------
    spec : str
        As given to ``--partition``.
    rows : Rows
        The corpus.
    seed : int
        The same specification, rows and seed give the same clients.

    Raises
    ------
    ConfigError
        If the specification is not one, or would leave a client without an example.
    """
    partitioner, arguments = parse(spec)
    if len(rows.training) == 0:
        raise ConfigError(f"no training example is left to divide by {spec}; check --labels and --folds")
    return partitioner.divide(rows, seed, *arguments)


def parse(spec: str) -> tuple[Partitioner, list[int | float]]:
    """The partitioner that a specification names, and its arguments.

    Raises
    ------
    ConfigError
        If there is no such partitioner, or its arguments are not what it takes.
    """
    name, *given = spec.split(":")
    partitioner = PARTITIONERS[name] if name in PARTITIONERS else _installed(name)
    if len(given) != len(partitioner.arguments):
        raise ConfigError(f"partition {spec!r} is not complete; write {partitioner.usage}")
    return partitioner, [
        _positive(text, kind, argument, spec, partitioner.usage)
        for text, (argument, kind) in zip(given, partitioner.arguments, strict=True)
    ]


def _positive(text: str, kind: type, argument: str, spec: str, usage: str) -> int | float:
    try:
        value: int | float = kind(text)
    except ValueError:
        value = 0
    if not (math.isfinite(value) and value > 0):
        what = "a whole number" if kind is int else "a number"
        raise ConfigError(f"partition {spec!r}: {argument} is {what} above 0, not {text!r}; write {usage}")
    return value


def _installed(name: str) -> Partitioner:
    points = {point.name: point for point in entry_points(group=GROUP)}
    if name not in points:
        known = [p.usage for p in PARTITIONERS.values()] + sorted(points)
        raise unknown_name("partition", name, known)
    loaded = points[name].load()
    if not isinstance(loaded, Partitioner):
        raise ConfigError(
            f"partition {name!r} from {points[name].value} is not a fedaffect.simulation.partition.Partitioner"
        )
    return loaded
