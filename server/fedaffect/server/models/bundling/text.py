"""Text encoders: MiniLM as this project taught it, or any BERT-family model."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoTokenizer

from fedaffect.edge.encoders.text import TextSettings
from fedaffect.edge.errors import BundleError
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.hub import load, load_model, source_of
from fedaffect.server.models.bundling.precision import Feed, quantise_dynamic
from fedaffect.server.models.encoders.words.weights import (
    PERMISSIVE_TERMS,
    PERMISSIVE_UPPER,
    UPPER,
    taught_words,
    words_source,
)
from fedaffect.server.models.reading import AS_IT_COMES, Reading

# The name that --text takes beside folders and hub ids, of the encoder whose corpora let an app ship it.
PERMISSIVE_WORDS: Final = "permissive-words"
# Those that this project taught.
_OWN: Final[Mapping[str | None, Path]] = MappingProxyType({None: UPPER, PERMISSIVE_WORDS: PERMISSIVE_UPPER})
KINDS: Final = ("bert", "distilbert", "roberta", "xlm-roberta", "electra", "mpnet", "camembert", "albert", "deberta-v2")
BOUND: Final = 0.97
# MiniLM's last layer was trained to tell topics apart. On MELD's development split a logistic regression on mean
# tokens gives weighted F1 0.490 on layer 6, 0.524 on layer 4 and 0.526 on both, unweighted recall 0.301, 0.331, 0.342.
MINILM_LAYERS: Final = (4, 6)
_SENTENCES: Final = (
    "I really did not expect to see you here today, and I am so very happy that you came back to us at last.",
    "Leave me alone!",
    "Oh my God, what have you done to my grandmother's chair?",
    "It is all right. We can talk about it tomorrow, if you like.",
    "Yeah.",
    "He died last night, and I never told him how sorry I was.",
)


class HiddenStates(nn.Module):
    """A transformers text model from word-piece ids to the hidden states of some of its layers, side by side.

    Parameters
    ----------
    model : nn.Module
    layers : tuple of int
        Counted from 0, the embeddings; -1 is the last.
    """

    def __init__(self, model: nn.Module, layers: tuple[int, ...]) -> None:
        super().__init__()
        self.model = model
        self.layers = layers

    def forward(self, input_ids: Tensor) -> Tensor:
        """Hidden states, (B, T) to (B, T, W); all positions are words, sentences are not padded."""
        states = self.model(input_ids=input_ids, output_hidden_states=True).hidden_states
        return torch.cat([states[layer] for layer in self.layers], dim=-1)


def draft_text(name: str | None, folder: Path, reading: Reading = AS_IT_COMES) -> Draft:
    """Export a text encoder into a folder.

    Parameters
    ----------
    name : str, optional
        ``permissive-words``, a local folder or a hub id; the encoder that this project taught if not given.
    folder : Path
        Where to write.
    reading : Reading
        What was learned behind it, if anything was, and so which features it must give.

    Raises
    ------
    BundleError
        If the model or its tokenizer cannot be had or exported.
    """
    model, words = open_words(name)
    tokenizer = folder / "text.tokenizer.json"
    words.save(str(tokenizer), pretty=False)
    network = folder / "text.onnx"
    ids = [np.array(Tokenizer.from_file(str(tokenizer)).encode(s).ids, np.int64)[None] for s in _SENTENCES]
    layers = reading.layers or (MINILM_LAYERS if name in _OWN else (-1,))
    module = HiddenStates(model, layers)
    to_onnx(module, "input_ids", torch.from_numpy(ids[0]), {0: "sentences", 1: "tokens"}, network)
    probes: tuple[Feed, ...] = tuple({"input_ids": sentence} for sentence in ids)
    longest = int(getattr(model.config, "max_position_embeddings", 512)) - 2
    return Draft(
        modality="text",
        network=network,
        settings=TextSettings(max_tokens=min(128, longest)),
        width=len(layers) * int(model.config.hidden_size),
        tokens_per_second=0.0,
        source=words_source(_OWN[name]) if name is None or name in _OWN else source_of(name, model.config),
        quantise=partial(quantise_dynamic, operators=("MatMul", "Gemm", "Gather")),
        probes=probes,
        probe=f"{ids[0].shape[1]} tokens",
        bound=BOUND,
        assets={"tokenizer": tokenizer} | ({"licence": PERMISSIVE_TERMS} if name == PERMISSIVE_WORDS else {}),
        module=module,
    )


def open_words(name: str | None) -> tuple[Any, Any]:
    """A text network, ready to infer, and its tokenizer as :func:`tokenizer_of` gives it.

    Parameters
    ----------
    name : str, optional
        ``permissive-words``, a local folder or a hub id; the encoder that this project taught if not given.

    Raises
    ------
    BundleError
        If they cannot be had.
    """
    if name is None or name in _OWN:
        model, tokenizer = taught_words(_OWN[name])
        return model, _backend(tokenizer, "MiniLM")
    return load_model(name, KINDS, "--text"), tokenizer_of(name)


def tokenizer_of(where: str) -> Any:
    """The fast tokenizer of a folder or hub id, free of padding and truncation: those are the runtime's.

    Raises
    ------
    BundleError
        If it has none.
    """
    return _backend(load(where, AutoTokenizer, use_fast=True), where)


def _backend(whole: Any, where: str) -> Any:
    tokenizer = getattr(whole, "backend_tokenizer", None)
    if tokenizer is None:
        raise BundleError(f"{where} has no fast tokenizer; save it with a tokenizer.json")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer
