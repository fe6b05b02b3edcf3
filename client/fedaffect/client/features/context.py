"""What was said before: the past utterances of a dialogue as a stream of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.cohort import TokenTable
from fedaffect.client.features.sequences import means
from fedaffect.edge.errors import ConfigError

FLAGS = 2  # same speaker, distance


def past_utterances(
    text: TokenTable,
    dialogues: NDArray[np.int64],
    turns: NDArray[np.int64],
    speakers: NDArray[np.int64],
    count: int,
) -> TokenTable:
    """Up to ``count`` past utterances of each utterance's dialogue, oldest first, a token each.

    A token is the mean of the past utterance's text tokens, then 1 where its speaker is the present one, else 0, then
    its distance in utterances divided by ``count``. It is what a device hears: nothing of the future, no label, and
    what others said as well as its user.

    Parameters
    ----------
    text : TokenTable
        Of N rows. An utterance without text gives no token, but counts in distances.
    dialogues : int64 array, shape (N,)
        Dialogue of each row, below 0 for none.
    turns : int64 array, shape (N,)
        Place in the dialogue; gaps do not matter.
    speakers : int64 array, shape (N,)
    count : int
        Past utterances, 1 or more.

    Returns
    -------
    TokenTable
        Of N rows and width W + 2, float16. Utterances at the start of a dialogue have fewer tokens, the first none.

    Raises
    ------
    ConfigError
        If no row belongs to a dialogue.
    """
    if count < 1:
        raise ConfigError(f"--context is a number of past utterances, 1 or more, not {count}")
    if len(dialogues) == 0 or dialogues.max() < 0:
        raise ConfigError("the corpus has no dialogues, so there is no --context; leave it out")
    order = np.lexsort((np.arange(len(turns)), turns, dialogues))
    steps = np.arange(count, 0, -1)  # oldest first
    places = np.arange(len(order))[:, None] - steps  # (N, count), places in the order
    past = order[np.maximum(places, 0)]  # rows
    same_dialogue = (places >= 0) & (dialogues[past] == dialogues[order][:, None]) & (dialogues[order] >= 0)[:, None]
    # Two utterances of one turn happened together: neither is the other's past.
    there = same_dialogue & (turns[past] < turns[order][:, None]) & (np.diff(text.offsets)[past] > 0)
    # Back from the dialogues' order to that of the rows.
    past[order], there[order] = past.copy(), there.copy()

    row, step = np.nonzero(there)
    spoken = past[row, step]
    tokens = np.empty((len(row), text.width + FLAGS), np.float16)
    tokens[:, :-FLAGS] = means(text)[spoken]
    tokens[:, -2] = speakers[spoken] == speakers[row]
    tokens[:, -1] = steps[step] / count
    return TokenTable(tokens, np.concatenate([np.zeros(1, np.int64), np.cumsum(there.sum(axis=1))]))
