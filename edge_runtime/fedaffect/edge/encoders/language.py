"""Whether words are in the language of a text encoder; asked only where its tokenizer knows few of them."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from tokenizers import Tokenizer

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# By how much, in nats, another language must explain the words better than the encoder's own, where several words are
# strange to the encoder, and where only one is.
_SURE: Final = 8.0
_SURER: Final = 15.0
# Pidgin of Nigeria, which slang of the net looks like.
_KIN: Final = {"en": frozenset({"pcm"})}
# Words of a vocabulary that tell its language, and from how many on they do.
_TELLING: Final = 3_000
_FEWEST: Final = 1_000
_LETTERS: Final = 3
# Vocabularies beyond this size belong to encoders of many languages.
_MONOLINGUAL: Final = 60_000


def is_foreign(tokenizer: Tokenizer, words: str, strange: int) -> bool:
    """Whether words are in another language than the one that a tokenizer's vocabulary is of.

    Parameters
    ----------
    tokenizer : Tokenizer
        The encoder's. One of many languages knows them all, one of a few words none that could be told.
    words : str
        Two or more.
    strange : int
        How many of them are no pieces of their own.
    """
    language = language_of(tokenizer)
    if not language:
        return False
    likely = dict(_identifier().rank(words))
    others = likely.keys() - _KIN.get(language, frozenset())
    return bool(max(likely[other] for other in others) - likely[language] > (_SURE if strange > 1 else _SURER))


@lru_cache(maxsize=8)
def language_of(tokenizer: Tokenizer) -> str:
    """Language of a vocabulary's whole words, as its code in ISO 639; nothing where it has too many or too few."""
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if len(vocabulary) > _MONOLINGUAL:
        return ""
    whole = [word for word in sorted(vocabulary, key=vocabulary.__getitem__) if word.isalpha() and len(word) > _LETTERS]
    if len(whole) < _FEWEST:
        return ""
    return str(_identifier().classify(" ".join(whole[:_TELLING]))[0])


@lru_cache(maxsize=1)
def _identifier() -> LanguageIdentifier:
    # Here, not above: it takes most of a second to open, and texts in the encoder's language never need it.
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
