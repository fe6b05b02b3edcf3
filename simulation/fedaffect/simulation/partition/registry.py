"""Partitions by specification: ``natural``, ``iid:100``, ``dirichlet:0.5:100``, and a user's own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from fedaffect.client.plugins import MARK, Plugins
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.simulation.partition.checking import checked
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


PLUGINS: Plugins[Partitioner] = Plugins(
    "partition",
    GROUP,
    PARTITIONERS,
    lambda found: isinstance(found, Partitioner),
    "a fedaffect.simulation.Partitioner",
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
        If the specification is not one, would leave a client without an example, or if what a partitioner from
        outside answers is no partition of these rows.
    """
    partitioner, arguments = parse(spec)
    if len(rows.training) == 0:
        raise ConfigError(f"no training example is left to divide by {spec}; check --labels and --folds")
    divided = partitioner.divide(rows, seed, *arguments)
    return divided if is_own(spec) else checked(divided, rows, f"partition {spec!r}")


def is_own(spec: str) -> bool:
    """Whether a specification is of a partitioner that comes with fedaffect, which its name and seed decide."""
    return spec.partition(":")[0] in PARTITIONERS


def parse(spec: str) -> tuple[Partitioner, list[int | float]]:
    """The partitioner that a specification names, and its arguments.

    Raises
    ------
    ConfigError
        If there is no such partitioner, or its arguments are not what it takes.
    """
    name, *given = spec.split(":")
    known = PLUGINS.names()
    if name not in known and not name.startswith(MARK):
        raise unknown_name("partition", name, [PARTITIONERS[n].usage if n in PARTITIONERS else n for n in known])
    partitioner = PLUGINS.find(name)
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
