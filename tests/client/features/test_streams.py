"""Context, normalisation and picking of rows."""

from __future__ import annotations

import numpy as np
import pytest

from fedaffect.client.cohort import TokenTable
from fedaffect.client.features.context import past_utterances
from fedaffect.client.features.sequences import from_sequences, means, standardised_by_owner, take_rows
from fedaffect.edge.errors import ConfigError

LENGTHS = np.array([2, 1, 3, 0, 2, 4, 1])
DIALOGUES = np.array([0, 0, 0, 0, 1, 1, -1])
TURNS = np.array([0, 1, 3, 4, 7, 2, 0])  # gaps, and a dialogue out of order
SPEAKERS = np.array([5, 6, 5, 6, 5, 5, 5])


def table(seed: int = 0) -> TokenTable:
    tokens = np.random.default_rng(seed).normal(size=(LENGTHS.sum(), 4)).astype(np.float16)
    return TokenTable(tokens, np.concatenate([[0], np.cumsum(LENGTHS)]))


def row(of: TokenTable, i: int) -> np.ndarray:
    return np.asarray(of.tokens[of.offsets[i] : of.offsets[i + 1]], np.float32)


def test_context_is_the_past_oldest_first() -> None:
    text = table()
    past = past_utterances(text, DIALOGUES, TURNS, SPEAKERS, 2)
    assert np.diff(past.offsets).tolist() == [0, 1, 2, 2, 1, 0, 0]
    assert past.width == 6
    expected = np.stack([np.append(row(text, 1).mean(0), [1, 1.0]), np.append(row(text, 2).mean(0), [0, 0.5])])
    assert np.allclose(row(past, 3), expected, atol=2e-3)
    # Row 4 comes after row 5 in its dialogue; row 6 has none.
    assert np.allclose(row(past, 4), np.append(row(text, 5).mean(0), [1, 0.5]), atol=2e-3)


def test_an_utterance_without_text_is_no_token_but_a_step() -> None:
    turns = np.array([0, 1, 3, 2, 7, 2, 0])  # the silent row 3 now comes before row 2
    past = past_utterances(table(), DIALOGUES, turns, SPEAKERS, 2)
    assert row(past, 2)[:, -1].tolist() == [1.0]


def test_utterances_of_one_turn_are_not_each_others_past() -> None:
    past = past_utterances(table(), DIALOGUES, np.array([0, 1, 1, 2, 7, 2, 0]), SPEAKERS, 3)
    assert np.diff(past.offsets)[:3].tolist() == [0, 1, 1]


def test_the_future_cannot_reach_the_context() -> None:
    text = table()
    before = past_utterances(text, DIALOGUES, TURNS, SPEAKERS, 3)
    for changed in range(len(LENGTHS)):
        tokens = text.tokens.copy()
        tokens[text.offsets[changed] : text.offsets[changed + 1]] += 1
        speakers = SPEAKERS.copy()
        speakers[changed] = 99
        after = past_utterances(TokenTable(tokens, text.offsets), DIALOGUES, TURNS, speakers, 3)
        for i in range(len(LENGTHS)):
            reached = not np.array_equal(row(before, i), row(after, i))
            later = DIALOGUES[i] == DIALOGUES[changed] >= 0 and TURNS[i] > TURNS[changed]
            assert not reached or later or i == changed
            # Its own words are not in its context; only whether others were the same speaker.
            assert np.array_equal(row(before, i)[:, :4], row(after, i)[:, :4]) or later


def test_context_without_dialogues_is_refused() -> None:
    with pytest.raises(ConfigError, match="no dialogues"):
        past_utterances(table(), np.full(7, -1), TURNS, SPEAKERS, 2)


def test_rows_are_taken_in_any_order() -> None:
    text = table()
    taken = take_rows(text, np.array([5, 3, 0, 5]))
    assert [len(row(taken, i)) for i in range(4)] == [4, 0, 2, 4]
    assert np.array_equal(row(taken, 2), row(text, 0))
    assert np.array_equal(row(taken, 3), row(text, 5))
    assert len(take_rows(text, np.zeros(0, np.int64)).tokens) == 0


def test_means_of_rows_with_and_without_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    text = table()
    expected = [row(text, i).mean(0) if LENGTHS[i] else np.zeros(4) for i in range(7)]
    assert np.allclose(means(text), expected, atol=1e-6)
    monkeypatch.setattr("fedaffect.client.features.sequences._CHUNK_TOKENS", 3)
    assert np.allclose(means(text), expected, atol=1e-6)


def test_each_owner_is_normalised_by_its_own_tokens() -> None:
    rng = np.random.default_rng(0)
    owners = np.array([0, 1, 0, 1, 2, 0])
    sequences = [(rng.normal(10 * o, 1 + o, size=(50, 3))).astype(np.float32) for o in owners]
    sequences[4] = sequences[4][:1]  # one token: nothing to divide by
    done = standardised_by_owner(from_sequences(sequences, 3), owners)
    for owner in (0, 1):
        own = np.concatenate([row(done, i) for i in np.flatnonzero(owners == owner)])
        assert np.allclose(own.mean(0), 0, atol=1e-5)
        assert np.allclose(own.std(0), 1, atol=1e-4)
    assert np.array_equal(row(done, 4), np.zeros((1, 3)))
    # Another owner's clips change nothing.
    sequences[1] = sequences[1] * 3
    again = standardised_by_owner(from_sequences(sequences, 3), owners)
    assert np.array_equal(row(again, 0), row(done, 0))


def test_given_features_keep_their_precision() -> None:
    made = from_sequences([None, np.array([[70000.0, 1e-9]], np.float32)], 2)
    assert made.tokens.dtype == np.float32
    assert made.offsets.tolist() == [0, 0, 1]
