"""Encoders that perceive constructed copies of what they are given."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Encoder, Prepared


class VariedEncoder(ABC):
    """An encoder whose input is changed first, the same way whenever the same input and copy come.

    Parameters
    ----------
    encoder : Encoder
    copy : int
        Which copy; with the input it decides every draw.
    """

    modality: str
    # Raised whenever the same input and number would become something else.
    edition: int

    def __init__(self, encoder: Encoder, copy: int) -> None:
        self._encoder = encoder
        self._copy = copy
        self.width = encoder.width
        self.tokens_per_second = encoder.tokens_per_second
        self.key = sha256(f"{encoder.key}\nvaried {self.edition} {copy}".encode()).hexdigest()

    @abstractmethod
    def prepare(self, source: Any) -> Prepared:
        """Decode, change, and prepare as the encoder does."""

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Tokens of each, shape (T_i, width)."""
        return self._encoder.encode(batch)
