"""Words to feature vectors: a BERT-family network, one vector a word-piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fedaffect.edge.encoders.base import Prepared, map_each
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.onnx_session import open_session

# Characters; a tokenizer takes longer words for unknown ones.
_LONGEST_PIECE: Final = 200


@dataclass(frozen=True, slots=True)
class TextSettings:
    """How words are prepared.

    Parameters
    ----------
    max_tokens : int
        Word-pieces kept, those that mark beginning and end included.
    """

    max_tokens: int = 128

    def __post_init__(self) -> None:
        if self.max_tokens < 3:
            raise BundleError(f"max_tokens of {self.max_tokens} leaves no room for a word; use 3 or more")


class TextEncoder:
    """Runs a text network; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    network : Path
        ONNX from ``input_ids`` (B, T) to hidden states (B, T, W).
    tokenizer : Path
        ``tokenizer.json``.
    settings : TextSettings
        Preprocessing.
    width, key
        As the bundle's manifest says.
    threads : int
        Sentences encoded at a time.
    """

    modality = "text"
    tokens_per_second = 0.0

    def __init__(
        self, network: Path, tokenizer: Path, settings: TextSettings, *, width: int, key: str, threads: int = 1
    ) -> None:
        self.width = width
        self.key = key
        self._threads = threads
        self._session = open_session(network)
        try:
            self._tokenizer = Tokenizer.from_file(str(tokenizer))
        # The tokenizers package raises bare Exception.
        except Exception as error:
            raise BundleError(f"{tokenizer} is not a tokenizer ({error}); build the bundle again") from error
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(settings.max_tokens)
        self.max_tokens = settings.max_tokens

    def prepare(self, source: Any) -> Prepared:
        """Word-piece ids of a sentence, shape (T,)."""
        if not isinstance(source, str):
            raise DataError(f"text must be a str, not a {type(source).__name__}")
        # Only the beginning can become tokens, so no more than that is looked at; half a surrogate pair is no letter.
        words = source[: _LONGEST_PIECE * self.max_tokens].encode("utf-8", "replace").decode("utf-8")
        ids = self._tokenizer.encode(words).ids
        if not ids:
            raise DataError(f"the tokenizer makes nothing of {source!r}; leave the text out where there is none")
        return Prepared(np.array(ids, dtype=np.int64))

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Hidden states of each sentence, shape (T_i, width)."""
        return map_each(self._encode, batch, self._threads)

    def _encode(self, prepared: Prepared) -> NDArray[np.float32]:
        hidden: NDArray[np.float32] = self._session.run(None, {"input_ids": prepared.values[None]})[0][0]
        return hidden
