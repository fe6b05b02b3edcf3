"""What the root asks of a region: a round's train request, for whom it is, and how their updates are to be summed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from flwr.app import ConfigRecord

from fedaffect.client.secagg.encoding import Encoding
from fedaffect.edge.errors import ConfigError

# The record of an order beside a train request's, and of a sum beside its arrays.
REGION = "region"


class RegionMap(Protocol):
    """Which region clients belong to."""

    @property
    def count(self) -> int:
        """How many regions there are."""

    def of(self, client: int) -> int:
        """The region of a partition id, counted from 0."""

    def name(self, region: int) -> str:
        """What people call a region."""


@dataclass(frozen=True, slots=True)
class Regions:
    """Which region a client belongs to, for any number of clients in no memory: equal runs of partition ids.

    Parameters
    ----------
    clients : int
        K, all clients of the federation.
    count : int

    Raises
    ------
    ConfigError
        If there are more regions than clients.
    """

    clients: int
    count: int

    def __post_init__(self) -> None:
        if self.count > self.clients:
            raise ConfigError(f"--regions {self.count} is more than the {self.clients} clients; lower it")

    def of(self, client: int) -> int:
        """The region of a partition id, counted from 0."""
        return ((client + 1) * self.count - 1) // self.clients

    def name(self, region: int) -> str:
        """Its number, from 1."""
        return str(region + 1)

    def members(self, region: int) -> range:
        """Partition ids of a region."""
        return range(region * self.clients // self.count, (region + 1) * self.clients // self.count)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How a region is to sum the updates of a round.

    Parameters
    ----------
    round : int
    clients : tuple of int
        Partition ids of those of its clients who are asked, ascending.
    asked : int
        How many clients all regions ask, who share the room of the whole sum.
    own : tuple of str
        Names of the parameters that stay on clients.
    uniform : bool
        Whether every client weighs one.
    norm_bound : float
        Largest norm of an update, 0 for none.
    clip_norm : float
        The norm that privacy's noise is made for, 0 for none: held against updates that the region sees one by one.
    timeout_s : float
    excuses_late : bool
        Whether ``timeout_s`` is a deadline that clients may miss.
    encoding : Encoding, optional
        Of a secure sum, the same in all regions.
    neighbours, threshold : int
        Of a secure sum's graph, 0 for what suits the region.
    """

    round: int
    clients: tuple[int, ...]
    asked: int
    own: tuple[str, ...] = ()
    uniform: bool = False
    norm_bound: float = 0.0
    clip_norm: float = 0.0
    timeout_s: float
    excuses_late: bool = False
    encoding: Encoding | None = None
    neighbours: int = 0
    threshold: int = 0

    def to_record(self) -> ConfigRecord:
        """As a record of a message."""
        encoding = {} if self.encoding is None else {f"encoding-{k}": v for k, v in self.encoding.to_record().items()}
        plain = {name: getattr(self, name) for name in self.__slots__ if name != "encoding"}
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}
        return ConfigRecord({**settings, **encoding})

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Order:
        """Read back what :meth:`to_record` wrote.

        Raises
        ------
        ConfigError
            If it lacks something.
        """
        encoding = {k.removeprefix("encoding-"): v for k, v in record.items() if k.startswith("encoding-")}
        try:
            return cls(
                round=int(record["round"]),
                clients=tuple(record["clients"]),
                asked=int(record["asked"]),
                own=tuple(record["own"]),
                uniform=bool(record["uniform"]),
                norm_bound=float(record["norm_bound"]),
                clip_norm=float(record["clip_norm"]),
                timeout_s=float(record["timeout_s"]),
                excuses_late=bool(record["excuses_late"]),
                encoding=Encoding.from_record(encoding) if encoding else None,
                neighbours=int(record["neighbours"]),
                threshold=int(record["threshold"]),
            )
        except KeyError as error:
            raise ConfigError(f"an order to a region lacks {error}; run the same version in root and region") from error
