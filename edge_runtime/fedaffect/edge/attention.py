"""Which parts of a sample attend to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Enough for a row to sum to 1 within a thousandth, and a third of the text.
_DIGITS = 5


@dataclass(frozen=True, slots=True)
class Attention:
    """Attention weights of one sample: softmax(Q K^T / sqrt(d)) of each layer and head.

    Parameters
    ----------
    shares : float32 array, shape (L, heads, T, T)
        Layers in their order, that of the cross-modal attention (equation 10 of Zhong, Shu and Zhao) first. A row is a
        token that looks, a column one that is looked at; rows sum to 1. Tokens of the modalities stand one after the
        other, T in all.
    tokens : mapping of str to int
        How many tokens each modality of the sample has, in their order; 1 for a model of one vector a modality.
    """

    shares: NDArray[np.float32]
    tokens: Mapping[str, int]

    @classmethod
    def of(cls, shares: NDArray[np.float32], tokens: Mapping[str, int], by_token: bool) -> Attention:
        """What a fusion tells, without what stood for modalities that the sample lacks.

        Parameters
        ----------
        shares : float32 array, shape (L, heads, T, T), or (L, heads, M, M) if not ``by_token``
            One token stands for a modality that the sample lacks.
        tokens : mapping of str to int
            How many tokens the sample has of each of the fusion's M modalities, 0 for none.
        by_token : bool
        """
        lengths = {m: max(1, count) if by_token else 1 for m, count in tokens.items()}
        here = np.repeat([count > 0 for count in tokens.values()], list(lengths.values()))
        return cls(shares[:, :, here][:, :, :, here], {m: lengths[m] for m, count in tokens.items() if count})

    def between(self, layer: int = 0) -> NDArray[np.float64]:
        """How much each modality's tokens attend to each modality, on average over tokens and heads, shape (M, M).

        Rows sum to 1.
        """
        ends = np.cumsum([0, *self.tokens.values()])[:-1]
        mean = self.shares[layer].astype(np.float64).mean(axis=0)  # (T, T)
        looked_at = np.add.reduceat(mean, ends, axis=1)  # (T, M)
        sums = np.add.reduceat(looked_at, ends, axis=0)
        averaged: NDArray[np.float64] = sums / np.array(list(self.tokens.values()))[:, None]
        return averaged

    def to_json(self) -> dict[str, Any]:
        """``tokens``, and ``shares`` as nested lists, layer, head, row, column, to five digits."""
        return {"tokens": dict(self.tokens), "shares": np.round(self.shares.astype(np.float64), _DIGITS).tolist()}
