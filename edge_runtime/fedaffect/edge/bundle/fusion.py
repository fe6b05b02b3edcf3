"""Tokens to class scores: the fusion layer as a device runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.attention import Attention
from fedaffect.edge.bundle.entries import FusionEntry
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.onnx_session import open_session

PRESENT: Final = "_present"
SCORES: Final = "scores"
ATTENTION: Final = "attention"
# What a model that goes on with a dialogue takes besides, and gives back under the same names with this before.
MEMORY: Final = "memory"
PARTIES: Final = "parties"
SPEAKS: Final = "speaks"
REMEMBERED: Final = (MEMORY, PARTIES, SPEAKS)
AFTER: Final = "after_"


@dataclass(frozen=True, slots=True)
class DialogueMemory:
    """What a fusion remembers of a dialogue.

    Parameters
    ----------
    memory : float32 array, shape (1, M)
        Of the dialogue as a whole.
    parties : float32 array, shape (P, h)
        Of each party that has spoken, in the order in which they first did.
    """

    memory: NDArray[np.float32]
    parties: NDArray[np.float32]


class Fusion:
    """Runs a fusion network on one sample at a time.

    Parameters
    ----------
    network : Path
        ONNX: for each modality ``m`` tokens ``m`` (B, T_m, W_m) and ``m_present`` (B, T_m), to ``scores`` (B, C + R),
        of which the last R are ratings, and of models that tell it, ``attention`` (B, L, heads, T, T), T the sum of
        the T_m, or the number of modalities.
        Models that go on with a dialogue take ``memory`` (1, M), ``parties`` (P, h) and ``speaks`` (P,) besides, of one
        utterance, and give ``after_memory`` and ``after_parties``.
    entry : FusionEntry
        What the manifest says of it.
    labels : tuple of str
        Names of the C classes, in order.

    Raises
    ------
    BundleError
        If the graph does not open or takes other inputs than the manifest says.
    """

    def __init__(self, network: Path, entry: FusionEntry, labels: tuple[str, ...]) -> None:
        self.labels = labels
        self.widths = dict(entry.widths)
        self._model = entry.model
        self._ratings = tuple(entry.ratings)
        self._session = open_session(network)
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        self._remembers = MEMORY in inputs
        # Widths of a memory; 0 where the graph keeps none.
        self._sizes = (int(inputs[MEMORY][1]), int(inputs[PARTIES][1])) if self._remembers else (0, 0)
        takes = {name for m in self.widths for name in (m, m + PRESENT)} | set(REMEMBERED if self._remembers else ())
        if inputs.keys() != takes:
            raise BundleError(
                f"{network} takes {', '.join(sorted(inputs))}, not the tokens of {', '.join(self.widths)}; "
                f"build the bundle again"
            )

    def __call__(self, tokens: Mapping[str, NDArray[np.float32]]) -> NDArray[np.float32]:
        """Class scores of one sample, before temperature and softmax.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T_m, W_m)
            Any non-empty subset of the modalities; T_m of at least 1.

        Returns
        -------
        float32 array, shape (C,)

        Raises
        ------
        DataError
            If there are no tokens at all, a width is not the fusion's, or a feature is not a number.
        """
        return self.answer(tokens)[0]

    def answer(self, tokens: Mapping[str, NDArray[np.float32]]) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Class scores of one sample, and what is said of it besides.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T_m, W_m)
            As for a call.

        Returns
        -------
        scores : float32 array, shape (C,)
        ratings : dict of str to float
            By name; empty where nothing but the class was learned.

        Raises
        ------
        DataError
            As for a call.
        """
        feed = self._feed(tokens)
        if self._remembers:
            # Alone, an utterance is a dialogue of its own.
            feed |= self._remembered(0, self.begin())
        return self._told(self._session.run([SCORES], feed)[0][0])

    def _told(self, answers: NDArray[np.float32]) -> tuple[NDArray[np.float32], dict[str, float]]:
        """Scores (C,) and ratings of what the network gives of one sample, shape (C + R,)."""
        classes = len(self.labels)
        if answers.shape != (classes + len(self._ratings),):
            rated = f" and {len(self._ratings)} ratings" if self._ratings else ""
            raise BundleError(
                f"the fusion gives {answers.size} scores for {classes} labels{rated}; build the bundle again"
            )
        return answers[:classes], dict(zip(self._ratings, answers[classes:].tolist(), strict=True))

    def begin(self) -> DialogueMemory:
        """The memory of a dialogue in which nobody has spoken.

        Raises
        ------
        BundleError
            If the fusion keeps none.
        """
        if not self._remembers:
            raise BundleError(
                f"this bundle's fusion ({self._model}) judges each utterance alone; build one whose model is avafn, "
                f"causal and with dialogue, with this version"
            )
        memory, states = self._sizes
        return DialogueMemory(np.zeros((1, memory), np.float32), np.zeros((0, states), np.float32))

    def turn(
        self, tokens: Mapping[str, NDArray[np.float32]], speaker: int, before: DialogueMemory
    ) -> tuple[NDArray[np.float32], dict[str, float], DialogueMemory]:
        """What :meth:`answer` gives of one more turn of a dialogue, and what is remembered after it.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T_m, W_m)
            As for a call.
        speaker : int
            Who says it, as a row of ``before.parties``; P for somebody who speaks for the first time.
        before : DialogueMemory

        Returns
        -------
        scores : float32 array, shape (C,)
        ratings : dict of str to float
        after : DialogueMemory

        Raises
        ------
        DataError
            As for a call.
        """
        feed = self._feed(tokens) | self._remembered(speaker, before)
        names = [SCORES, AFTER + MEMORY, AFTER + PARTIES]
        answers, memory, parties = self._session.run(names, feed)
        return *self._told(answers[0]), DialogueMemory(memory, parties)

    def _remembered(self, speaker: int, before: DialogueMemory) -> dict[str, NDArray[Any]]:
        """The inputs beside the tokens; a new speaker gets a row of zeros."""
        count, states = before.parties.shape
        parties = before.parties
        if speaker == count:
            parties = np.concatenate([parties, np.zeros((1, states), np.float32)])
        speaks = np.arange(len(parties)) == speaker
        return {MEMORY: before.memory, PARTIES: parties, SPEAKS: speaks}

    def attention(self, tokens: Mapping[str, NDArray[np.float32]]) -> Attention:
        """Which tokens of one sample attend to which.

        Parameters
        ----------
        tokens : mapping of str to float32 array, shape (T_m, W_m)
            As for a call.

        Raises
        ------
        BundleError
            If the fusion does not tell it.
        DataError
            As for a call.
        """
        told = next((value for value in self._session.get_outputs() if value.name == ATTENTION), None)
        if told is None:
            raise BundleError(
                f"this bundle's fusion ({self._model}) does not tell its attention; "
                f"build one whose model is cmt or cmt-paper, with this version"
            )
        shares: NDArray[np.float32] = self._session.run([ATTENTION], self._feed(tokens))[0][0]  # (L, heads, T, T)
        # A graph over one vector a modality has as many rows whatever comes in.
        by_token = not isinstance(told.shape[-1], int)
        return Attention.of(shares, {m: len(tokens.get(m, ())) for m in self.widths}, by_token)

    def _feed(self, tokens: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        self._check(tokens)
        feed: dict[str, NDArray[Any]] = {}
        for modality, width in self.widths.items():
            given = tokens.get(modality)
            # A modality that is missing is one token that nobody looks at: the graph's inputs are always the same.
            values = np.zeros((1, width), np.float32) if given is None else np.asarray(given, np.float32)
            feed[modality] = values[None]
            feed[modality + PRESENT] = np.full((1, len(values)), given is not None)
        return feed

    def _check(self, tokens: Mapping[str, NDArray[np.float32]]) -> None:
        if not tokens:
            raise DataError(f"there is nothing to fuse; give tokens of at least one of {', '.join(self.widths)}")
        for modality, values in tokens.items():
            if modality not in self.widths:
                raise DataError(
                    f"this bundle's fusion takes {', '.join(self.widths)}, not {modality!r}; leave it out, "
                    f"or use a bundle whose fusion learned it"
                )
            if values.ndim != 2 or values.shape[1] != self.widths[modality] or len(values) == 0:
                raise DataError(
                    f"{modality} features are of shape {values.shape}, this bundle takes (T, {self.widths[modality]}) "
                    f"with T of 1 or more; compute them with this bundle's own encoder"
                )
            if not np.isfinite(values).all():
                raise DataError(
                    f"{modality} features hold NaN or infinite values; compute them again from the source, "
                    f"or leave {modality} out"
                )
