"""MiniLM with three heads; its lower layers are frozen, and computed once for all epochs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedaffect.server.models.encoders.words.weights import untaught_words

_MOST_TOKENS: Final = 40
_BATCH: Final = 64
_MASKED: Final = -1e4


class TaughtWords(nn.Module):
    """A text encoder and, over its last layer's tokens weighted by attention, heads for what its lines are known by.

    Parameters
    ----------
    frozen : int
        Layers from the first that stay as they are, and the embeddings with them.
    classes, finer, ratings : int
        Widths of the heads.
    """

    def __init__(self, frozen: int, classes: int, finer: int, ratings: int) -> None:
        super().__init__()
        self.encoder, self.tokenizer = untaught_words()
        self.frozen = frozen
        width = int(self.encoder.config.hidden_size)
        self.attention = nn.Linear(width, 1)
        self.dropout = nn.Dropout(0.1)
        self.heads = nn.ModuleDict(
            {"votes": nn.Linear(width, classes), "finer": nn.Linear(width, finer), "ratings": nn.Linear(width, ratings)}
        )
        self.encoder.embeddings.requires_grad_(False)
        for layer in self.encoder.encoder.layer[:frozen]:
            layer.requires_grad_(False)

    def upper(self, states: Tensor, present: Tensor) -> Tensor:
        """From what the frozen layers give to the last layer, (B, T, W) both; ``present`` is (B, T)."""
        return self._through(self.encoder.encoder.layer[self.frozen :], states, present)

    def lower(self, ids: Tensor, present: Tensor) -> Tensor:
        """What the frozen layers give, (B, T) to (B, T, W)."""
        return self._through(self.encoder.encoder.layer[: self.frozen], self.encoder.embeddings(input_ids=ids), present)

    def forward(self, states: Tensor, present: Tensor) -> dict[str, Tensor]:
        """Scores of each head, (B, K), from the last layer's tokens (B, T, W)."""
        weights = self.attention(states).squeeze(-1).masked_fill(~present, _MASKED).softmax(dim=-1)
        pooled = self.dropout((weights[..., None] * states).sum(dim=1))
        return {name: head(pooled) for name, head in self.heads.items()}

    @staticmethod
    def _through(layers: Any, states: Tensor, present: Tensor) -> Tensor:
        bias = torch.zeros(present.shape).masked_fill(~present, _MASKED)[:, None, None, :]
        for layer in layers:
            given = layer(states, bias)
            states = given[0] if isinstance(given, tuple) else given
        return states


class Tokens:
    """Word pieces of N lines, and what the frozen layers make of them; half precision, end to end in one array.

    Parameters
    ----------
    model : TaughtWords
    texts : sequence of str
        Cut after forty word pieces.
    """

    def __init__(self, model: TaughtWords, texts: Sequence[str]) -> None:
        ids = model.tokenizer(list(texts), truncation=True, max_length=_MOST_TOKENS)["input_ids"]
        self.lengths = np.array([len(each) for each in ids], np.int64)
        self._offsets = np.concatenate([[0], np.cumsum(self.lengths)])
        self._states = np.zeros((int(self._offsets[-1]), int(model.encoder.config.hidden_size)), np.float16)
        self._ids = ids
        model.eval()
        with torch.no_grad():
            for rows in self.by_length(_BATCH):
                states = model.lower(*self._padded_ids(rows)).numpy()
                for place, row in enumerate(rows):
                    self._states[self._offsets[row] : self._offsets[row + 1]] = states[place, : self.lengths[row]]

    def by_length(self, size: int) -> Iterator[NDArray[np.int64]]:
        """All rows, in batches of about one length."""
        order = np.argsort(self.lengths, kind="stable")
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def batch(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """States (B, T, W) of some rows, padded to the longest, and which of them are there (B, T)."""
        longest = int(self.lengths[rows].max())
        states = np.zeros((len(rows), longest, self._states.shape[1]), np.float32)
        for place, row in enumerate(rows):
            states[place, : self.lengths[row]] = self._states[self._offsets[row] : self._offsets[row + 1]]
        return torch.from_numpy(states), torch.from_numpy(np.arange(longest) < self.lengths[rows][:, None])

    def _padded_ids(self, rows: NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        longest = int(self.lengths[rows].max())
        ids = np.zeros((len(rows), longest), np.int64)
        for place, row in enumerate(rows):
            ids[place, : self.lengths[row]] = self._ids[row]
        return torch.from_numpy(ids), torch.from_numpy(np.arange(longest) < self.lengths[rows][:, None])
