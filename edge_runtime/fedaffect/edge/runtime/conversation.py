"""A conversation on a device: each turn is judged with what was said and shown before, and by whom."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from threading import Lock
from time import perf_counter
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.adaptation import Adapter
from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.offload import Reason
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.runtime.intake import as_sample, take_in
from fedaffect.edge.runtime.local import Transcriber, encode, local_prediction, transcribed
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.sample import Sample

_SOMEBODY = "somebody"


class Conversation:
    """Goes on with one conversation, turn by turn; made by `EdgeRuntime.conversation`.

    The memory is two small arrays, whose size is that of the model and of the number of speakers, however long the
    conversation becomes. It is of the bundle that answered when it began, and stays with that one. Answers are the
    device's own: the cloud knows nothing of what was said before. Safe to call from several threads, one turn at a
    time.

    Parameters
    ----------
    opened : OpenBundle
    transcriber : callable, optional
        Finds words where a turn has none.
    adapter : callable, optional
        Makes what follows a speaker's turns and says how the app should adapt to that speaker.

    Raises
    ------
    BundleError
        If the bundle's fusion judges each utterance alone.
    """

    def __init__(
        self,
        opened: OpenBundle,
        transcriber: Transcriber | None = None,
        adapter: Callable[[], Adapter] | None = None,
    ) -> None:
        self._opened = opened
        self._transcriber = transcriber
        self._memory = opened.fusion.begin()
        self._speakers: dict[str, int] = {}
        self._adapter = adapter
        self._adapters: dict[str, Adapter] = {}
        self._lock = Lock()

    @property
    def speakers(self) -> tuple[str, ...]:
        """Who has spoken, in the order in which they first did."""
        return tuple(self._speakers)

    def say(self, sample: Sample | str, speaker: str = _SOMEBODY) -> Prediction:
        """The emotion of the next turn.

        Parameters
        ----------
        sample : Sample or str
            As for `EdgeRuntime.predict`; of long media, their beginning.
        speaker : str
            Who says it; if never given, everything is said by one.

        Raises
        ------
        DataError
            If nothing of it can be used; the conversation is then as it was before.
        """
        started_s = perf_counter()
        intake = take_in(as_sample(sample), self._opened.encoders)
        intake, transcript, transcription_ms = transcribed(self._transcriber, intake, self._opened)
        tokens, notes = encode(self._opened, intake)
        with self._lock:
            probabilities, ratings = self._turn(tokens, speaker)
        probabilities = doubted(probabilities, intake.doubtful)
        made = local_prediction(self._opened, probabilities, ratings, tokens, notes, uuid4().hex)
        spent_ms = (perf_counter() - started_s) * 1000 - (transcription_ms or 0.0)
        made = replace(
            made,
            offload_reason=str(Reason.CONVERSATION),
            latency_ms=spent_ms,
            transcript=transcript,
            transcription_ms=transcription_ms,
        )
        if self._adapter is None:
            return made
        with self._lock:
            if speaker not in self._adapters:
                self._adapters[speaker] = self._adapter()
            return replace(made, adaptation=self._adapters[speaker](made))

    def _turn(
        self, tokens: Mapping[str, NDArray[np.float32]], speaker: str
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        number = self._speakers.get(speaker, len(self._speakers))
        probabilities, ratings, self._memory = self._opened.turn(tokens, number, self._memory)
        self._speakers.setdefault(speaker, number)
        return probabilities, ratings
