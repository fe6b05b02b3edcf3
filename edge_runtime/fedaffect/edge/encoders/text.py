"""Words to feature vectors: a BERT-family network, one vector a word-piece."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from fedaffect.edge.encoders.base import Prepared, map_each
from fedaffect.edge.encoders.language import is_foreign
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.onnx_session import open_session

# Characters; a tokenizer takes longer words for unknown ones.
_LONGEST_PIECE: Final = 200


# Words of this many letters and more tell whether a tokenizer knows their script; it spells what it does not know, and
# pieces of the languages that it was made for are three to five letters long.
_LONG_WORD: Final = 3
_SPELT: Final = 1.5
# Share of words that are pieces of their own, from which a text is in the encoder's language without a closer look.
# English of dialogues has 0.95.
_KNOWN: Final = 0.85


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
            self.tokenizer = Tokenizer.from_file(str(tokenizer))
        # The tokenizers package raises bare Exception.
        except Exception as error:
            raise BundleError(f"{tokenizer} is not a tokenizer ({error}); build the bundle again") from error
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(settings.max_tokens)
        self.max_tokens = settings.max_tokens

    def prepare(self, source: Any) -> Prepared:
        """Word-piece ids of a sentence, shape (T,)."""
        if not isinstance(source, str):
            raise DataError(f"text must be a str, not a {type(source).__name__}")
        ids = self.tokenizer.encode(beginning_of(source, self.max_tokens)).ids
        if not ids:
            raise DataError(f"the tokenizer makes nothing of {source!r}; leave the text out where there is none")
        return Prepared(np.array(ids, dtype=np.int64))

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Hidden states of each sentence, shape (T_i, width)."""
        return map_each(self._encode, batch, self._threads)

    def _encode(self, prepared: Prepared) -> NDArray[np.float32]:
        hidden: NDArray[np.float32] = self._session.run(None, {"input_ids": prepared.values[None]})[0][0]
        return hidden


def beginning_of(text: str, max_tokens: int) -> str:
    """As much of a text as can become tokens; half a surrogate pair is no letter."""
    return text[: _LONGEST_PIECE * max_tokens].encode("utf-8", "replace").decode("utf-8")


def unreadable(tokenizer: Tokenizer, words: str) -> str:
    """Why a text encoder cannot judge these words; nothing where it can.

    Signs that it has no piece for and foreign scripts become unknown pieces, or single letters, and languages that
    share the encoder's letters other pieces than its own; the network answers what it always answers to those.

    Parameters
    ----------
    tokenizer : Tokenizer
        The encoder's.
    words : str
    """
    seen = _words_in(tokenizer, words)
    pieces = sum(word.pieces for word in seen)
    if 2 * sum(word.unknown for word in seen) > pieces:
        return "most of the text is unknown to its encoder"
    long = [word for word in seen if len(word.text) >= _LONG_WORD]
    if 2 * sum(len(word.text) < _SPELT * word.pieces for word in long) > len(long):
        return "most of the text is in letters that its encoder hardly knows"
    spelt = [word for word in seen if any(character.isalpha() for character in word.text)]
    known = sum(word.pieces == 1 and not word.unknown for word in spelt)
    if len(spelt) > 1 and known < _KNOWN * len(spelt) and is_foreign(tokenizer, words, len(spelt) - known):
        return "the text is in another language than its encoder's"
    return ""


@dataclass(slots=True)
class _Word:
    """A word of a text, of how many pieces it is made, and how many of these are unknown."""

    text: str = ""
    pieces: int = 0
    unknown: int = 0


def _words_in(tokenizer: Tokenizer, text: str) -> list[_Word]:
    encoding = tokenizer.encode(text)
    unknown = getattr(tokenizer.model, "unk_token", None)
    words: defaultdict[int, _Word] = defaultdict(_Word)
    for place, (start, stop), token, added in zip(
        encoding.word_ids, encoding.offsets, encoding.tokens, encoding.special_tokens_mask, strict=True
    ):
        if place is not None and not added:
            words[place].text += text[start:stop]
            words[place].pieces += 1
            words[place].unknown += token == unknown
    return list(words.values())
