"""Words: hidden states of a BERT-family model."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, cast

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor, nn

from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.encoders.text import TextEncoder
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.runtime.intake import Taken, take_text
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import Batch, PaddedEncoder, identity, to_arrays
from fedaffect.server.models.full_model.int8 import Example
from fedaffect.server.models.full_model.precision import ready

MAX_TOKENS: Final = 128


class WordStates(nn.Module):
    """Word-piece ids to the hidden states of some layers, side by side.

    Parameters
    ----------
    model : PreTrainedModel
        Of the BERT family.
    layers : tuple of int
        Counted from 0, the embeddings.
    """

    def __init__(self, model: nn.Module, layers: Sequence[int]) -> None:
        super().__init__()
        depth = int(model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        if not layers or not all(0 <= layer <= depth for layer in layers):
            raise BundleError(f"layers {tuple(layers)} of a text model that has {depth}; choose from 0 to {depth}")
        self.model = model
        self.layers = tuple(layers)

    def forward(self, ids: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T) to (B, T, len(layers) * W)."""
        attention = None if mask is None else mask.long()
        states = self.model(input_ids=ids, attention_mask=attention, output_hidden_states=True).hidden_states
        return torch.cat([states[layer] for layer in self.layers], dim=-1)


class CloudText(PaddedEncoder):
    """Runs a text model; one token a word-piece.

    Parameters
    ----------
    model : PreTrainedModel
        In FP32.
    tokenizer : Tokenizer
    layers : tuple of int
        Whose states are taken.
    compute : Compute
    max_tokens : int
        Word-pieces kept, those that mark beginning and end included.
    """

    modality = "text"

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        layers: Sequence[int],
        compute: Compute,
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        tokenizer.no_padding()
        tokenizer.enable_truncation(max_tokens)
        states = WordStates(model, layers).eval().requires_grad_(False)
        parameters = {"kind": "cloud-text", "layers": list(layers), "max_tokens": max_tokens}
        words = sha256(tokenizer.to_str().encode()).hexdigest()
        key = identity(states, parameters, {"tokenizer": words})
        width = len(states.layers) * int(model.config.hidden_size)
        example = Example("ids", torch.tensor([[101, 102, 103, 104]]) % int(model.config.vocab_size), {1: "tokens"})
        network = ready(states, compute, key, example)
        super().__init__(network, compute, width=width, tokens_per_second=0.0, key=key, step=16, most=8192)
        self.max_tokens = max_tokens
        self.tokenizer = tokenizer

    def prepare(self, source: Any) -> Prepared:
        """Word-piece ids of a sentence, shape (T,)."""
        if not isinstance(source, str):
            raise DataError(f"text must be a str, not a {type(source).__name__}")
        ids = self.tokenizer.encode(source).ids
        if not ids:
            raise DataError("the tokenizer makes nothing of the text; leave it out where there is none")
        return Prepared(np.array(ids, dtype=np.int64))

    def take(self, source: Any) -> Taken:
        """As the edge takes words."""
        return take_text(cast(TextEncoder, self), source)

    def _run(self, batch: Batch) -> list[NDArray[np.float32]]:
        states = self.network(batch.values, batch.mask)  # (B, T, W)
        return to_arrays([states[row, :length] for row, length in enumerate(batch.lengths)])
