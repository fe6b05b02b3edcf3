"""Picking, filling and normalising sequences of many lengths without a loop over rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable

_LEAST_DEVIATION = 1e-3
_CHUNK_TOKENS = 1 << 18


def take_rows(table: TokenTable, rows: NDArray[np.int64]) -> TokenTable:
    """The sequences of some rows, in that order.

    Parameters
    ----------
    table : TokenTable
        Of N rows.
    rows : int64 array, shape (n,)

    Returns
    -------
    TokenTable
        Of n rows, in memory.
    """
    places, offsets = token_places(table, rows)
    return TokenTable(table.tokens[places], offsets)


def with_rows(table: TokenTable, other: TokenTable, rows: NDArray[np.int64]) -> TokenTable:
    """A table in which some rows are those of another table of as many rows and the same width.

    Parameters
    ----------
    table, other : TokenTable
        Of N rows.
    rows : int64 array, shape (n,)
        Taken from the other.
    """
    both = TokenTable(
        np.concatenate([table.tokens, other.tokens]),
        np.concatenate([table.offsets, table.offsets[-1] + other.offsets[1:]]),
    )
    chosen = np.arange(len(table.offsets) - 1)
    chosen[rows] += len(chosen)
    return take_rows(both, chosen)


def token_places(table: TokenTable, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the tokens of some rows are, shape (s,), and the offsets of each row among them, shape (n + 1,)."""
    lengths = table.lengths(rows)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    shift = np.repeat(table.offsets[rows] - offsets[:-1], lengths)
    return np.arange(offsets[-1]) + shift, offsets


def from_sequences(sequences: Sequence[NDArray[np.float32] | None], width: int) -> TokenTable:
    """A table of given features, kept at float32; None is a row without tokens."""
    lengths = np.array([0 if s is None else len(s) for s in sequences], dtype=np.int64)
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    tokens = np.concatenate([np.zeros((0, width), np.float32), *(s for s in sequences if s is not None)])
    return TokenTable(tokens, offsets)


def means(table: TokenTable) -> NDArray[np.float32]:
    """Mean token of each row, shape (N, W); 0 for a row without tokens."""
    lengths = np.diff(table.offsets)
    result = np.zeros((len(lengths), table.width), np.float32)
    there = np.flatnonzero(lengths)
    # Rows without tokens take no space, so the starts of the others cut the tokens into just their runs. In chunks of
    # rows, because all tokens at float32 are twice the size of the file.
    for chunk in np.array_split(there, max(1, len(table.tokens) // _CHUNK_TOKENS)):
        if len(chunk):
            first, last = table.offsets[chunk[0]], table.offsets[chunk[-1] + 1]
            tokens = np.asarray(table.tokens[first:last], dtype=np.float32)
            result[chunk] = np.add.reduceat(tokens, table.offsets[chunk] - first, axis=0) / lengths[chunk, None]
    return result


def standardised_by_owner(table: TokenTable, owners: NDArray[np.int64]) -> TokenTable:
    """Tokens with mean 0 and deviation 1 over everything their owner said, feature by feature.

    What a device can do for its one user with that user's own unlabelled clips. It takes away what is always so of
    a voice or face, and with it whatever emotion an owner always shows: choose it on development data.

    Parameters
    ----------
    table : TokenTable
        Of N rows.
    owners : int64 array, shape (N,)
        Owner of each row. Rows of every split count: an owner met only in testing is normalised by its own clips too.

    Returns
    -------
    TokenTable
        In memory, of the same dtype.
    """
    tokens = np.empty_like(table.tokens)
    order = np.argsort(owners, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(owners[order])) + 1):
        places, _ = token_places(table, rows)
        if len(places):
            own = np.asarray(table.tokens[places], dtype=np.float32)
            deviation = np.maximum(own.std(axis=0), _LEAST_DEVIATION)
            tokens[places] = (own - own.mean(axis=0)) / deviation
    return TokenTable(tokens, np.asarray(table.offsets))
