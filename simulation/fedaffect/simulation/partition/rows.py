"""What a partitioner sees of a corpus, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A corpus as columns, one entry a labelled utterance.

    Parameters
    ----------
    labels : int64 array, shape (N,)
        Class indices.
    splits : str array, shape (N,)
        ``train``, ``dev`` or ``test``; other rows belong to no split.
    owners : int64 array, shape (N,)
        Natural owner of each row, an index into ``owner_names``.
    owner_names : tuple of str
        Speakers, actors or videos.
    owner_kind : str
        What an owner is: ``speaker``, ``actor``, ``video``; ``image`` where nobody knows.
    label_names : tuple of str
        Name of each class.
    attributes : mapping of str to str array, shape (N,)
        What else is known of each row: ``speaker``, ``season``.
    """

    labels: NDArray[np.int64]
    splits: NDArray[np.str_]
    owners: NDArray[np.int64]
    owner_names: tuple[str, ...]
    owner_kind: str
    label_names: tuple[str, ...]
    attributes: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)

    def of_split(self, split: str) -> NDArray[np.int64]:
        """Rows of one split, ascending."""
        return np.flatnonzero(self.splits == split)

    @property
    def training(self) -> NDArray[np.int64]:
        """Rows that are divided among clients."""
        return self.of_split("train")


@dataclass(frozen=True, slots=True)
class Partition:
    """Training rows by client.

    Parameters
    ----------
    names : tuple of str
        Of the K clients.
    offsets : int64 array, shape (K + 1,)
        Client k holds ``rows[offsets[k]:offsets[k + 1]]``, ascending.
    rows : int64 array
        Rows held, client after client.
    excluded : int64 array
        Rows of ``dev`` and ``test`` that the protocol leaves out of evaluation.
    """

    names: tuple[str, ...]
    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    excluded: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    def __post_init__(self) -> None:
        sizes = self.sizes
        if len(self.names) != len(sizes):
            raise ConfigError(f"a partition names {len(self.names)} clients and divides rows among {len(sizes)}")
        empty = np.flatnonzero(sizes == 0)
        if len(sizes) == 0 or len(empty):
            raise ConfigError(
                f"{len(empty) or 'all'} of {len(sizes)} clients would hold no training example; "
                "use fewer clients or, with dirichlet and quantity, a larger alpha"
            )

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Training rows of each client, shape (K,)."""
        sizes: NDArray[np.int64] = np.diff(self.offsets)
        return sizes

    def rows_of(self, client: int) -> NDArray[np.int64]:
        """Training rows of one client."""
        return self.rows[self.offsets[client] : self.offsets[client + 1]]

    def fingerprint(self) -> str:
        """Hexadecimal SHA-256 over who holds what."""
        digest = sha256("\n".join(self.names).encode())
        for array in (self.offsets, self.rows, self.excluded):
            digest.update(b"\0" + array.tobytes())
        return digest.hexdigest()

    @classmethod
    def of_clients(
        cls,
        rows: NDArray[np.int64],
        clients: NDArray[np.int64],
        names: Sequence[str],
        excluded: NDArray[np.int64] | None = None,
    ) -> Partition:
        """A partition from the client of each row.

        Parameters
        ----------
        rows, clients : int64 arrays, shape (n,)
            Rows that are held, and who holds each.
        names : sequence of str
            Of the clients.
        excluded : int64 array, optional
            See the class.
        """
        # One number for both, because sorting numbers is several times as fast as ordering pairs.
        span = int(rows.max(initial=0)) + 1
        held = np.sort(clients.astype(np.int64) * span + rows) % span
        sizes = np.bincount(clients, minlength=len(names))
        offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes, dtype=np.int64)])
        return cls(tuple(names), offsets, held, np.zeros(0, np.int64) if excluded is None else excluded)

    @classmethod
    def numbered(cls, rows: NDArray[np.int64], clients: NDArray[np.int64], count: int) -> Partition:
        """Like `of_clients`, for clients that are only numbers."""
        digits = len(str(max(count - 1, 1)))
        return cls.of_clients(rows, clients, [f"client-{k:0{digits}d}" for k in range(count)])
