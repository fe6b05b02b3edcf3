"""Emoji as tokens of their own, each begun from the words of its Unicode name."""

from __future__ import annotations

import unicodedata
from typing import Any, Final

import torch
from tokenizers import AddedToken

# Faces, hearts, hands and what else people put in the place of a feeling; first and last of each range.
_RANGES: Final = (
    *((0x2639, 0x263B), (0x2728, 0x2728), (0x2763, 0x2764), (0x1F389, 0x1F38A), (0x1F440, 0x1F440)),
    *((0x1F44A, 0x1F44F), (0x1F479, 0x1F480), (0x1F48B, 0x1F48C), (0x1F493, 0x1F49F), (0x1F4A2, 0x1F4AA)),
    *((0x1F4AF, 0x1F4AF), (0x1F525, 0x1F525), (0x1F595, 0x1F595), (0x1F5A4, 0x1F5A4), (0x1F600, 0x1F64F)),
    *((0x1F90C, 0x1F92F), (0x1F970, 0x1F97A), (0x1F9D0, 0x1F9D0), (0x1F9E1, 0x1F9E1), (0x1FA75, 0x1FA77)),
    *((0x1FAE0, 0x1FAE8), (0x1FAF6, 0x1FAF6)),
)
# Words of names that say what is drawn, and nothing of what is felt.
_DRAWN: Final = frozenset(
    {
        *("face", "with", "of", "and", "the", "symbol", "sign", "eyes", "eye", "mouth", "open", "look", "heavy"),
        *("black", "white", "emoji", "cat", "person", "covered", "over", "hand", "hands", "one", "two", "left"),
        *("right", "up"),
    }
)
# Where people mean something else than what Unicode called the drawing.
_MEANT: Final = {
    **{"\U0001f621": "furious anger", "\U0001f624": "frustrated anger", "\U0001f92c": "swearing anger"},
    **{"\U0001f62e": "surprised", "\U0001f636": "speechless", "\U0001f64f": "please thanks"},
    **{"\U0001f926": "disbelief embarrassed", "\U0001f44d": "approve good", "\U0001f44e": "disapprove bad"},
    **{"\U0001f47f": "angry devil", "\U0001f608": "mischievous", "\U0001f643": "sarcastic smiling"},
}


def emoji() -> tuple[str, ...]:
    """All that become tokens, in the order of Unicode."""
    characters = (chr(code) for first, last in _RANGES for code in range(first, last + 1))
    return tuple(character for character in characters if unicodedata.name(character, ""))


def said_by(character: str) -> str:
    """Words in which an emoji's name says what is felt, for instance ``tears joy``; all of them where none is left."""
    if character in _MEANT:
        return _MEANT[character]
    words = unicodedata.name(character).lower().replace("-", " ").split()
    return " ".join([word for word in words if word not in _DRAWN] or words)


@torch.no_grad()
def add_emoji(encoder: Any, tokenizer: Any) -> None:
    """Give a BERT-family encoder and its tokenizer a token for each emoji that they do not know.

    A token's embedding is the mean over the word pieces of :func:`said_by`, so that frozen layers make of it what they
    make of those words.

    Parameters
    ----------
    encoder : transformers.BertModel
    tokenizer : transformers.PreTrainedTokenizerFast
    """
    known = tokenizer.get_vocab()
    missing = [character for character in emoji() if character not in known]
    pieces = tokenizer([said_by(character) for character in missing], add_special_tokens=False)["input_ids"]
    # As they are written: normalisation comes after added tokens are cut out, on the page too.
    tokenizer.add_tokens([AddedToken(character, normalized=False) for character in missing])
    encoder.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    weights = encoder.embeddings.word_embeddings.weight
    for character, ids in zip(missing, pieces, strict=True):
        weights[tokenizer.convert_tokens_to_ids(character)] = weights[ids].mean(dim=0)
