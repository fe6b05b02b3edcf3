"""A film judged by an engine that follows it: everything is encoded once, and each person is told apart."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.sample import Sample, Waveform
from fedaffect.server.errors import InvalidRequest
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.engines.following import Unanswered
from fedaffect.server.serving.films.asking import until_answered
from fedaffect.server.serving.films.examples import FilmExamples
from fedaffect.server.serving.films.timeline import FUSED, PERSON, SENSES, FilmWindow, Judged, Said, Timeline
from fedaffect.server.serving.gateway.gateway import Gateway
from fedaffect.server.serving.gateway.one_version import Followed

_DIGITS: Final = 4


@dataclass(frozen=True, slots=True)
class Cut:
    """One window of a film.

    Parameters
    ----------
    start_s, end_s : float
    sample : Sample
        All of it.
    pictures : list of (float, uint8 array of shape (H, W, 3))
        Those that were in no window before, with their times.
    sound : Waveform, optional
        As much of it.
    words : list of Said
        As many of them.
    """

    start_s: float
    end_s: float
    sample: Sample
    pictures: Sequence[tuple[float, NDArray[np.uint8]]]
    sound: Waveform | None
    words: Sequence[Said]


class Following:
    """Follows one film.

    Parameters
    ----------
    gateway : Gateway
    caller : str
        Whom it counts against.
    timeline : Timeline
        Told labels and model version.
    examples : FilmExamples
        Told what each window was judged by.

    Attributes
    ----------
    follows : bool
        Whether the engine tells what each sense says; one that does not is asked window by window instead.

    Raises
    ------
    InvalidRequest
        If no model served takes media.
    Unavailable
        If none is loaded.
    """

    def __init__(self, gateway: Gateway, caller: str, timeline: Timeline, examples: FilmExamples) -> None:
        self._gateway = gateway
        self._caller = caller
        self._timeline = timeline
        self._examples = examples
        self._follower = Followed(gateway.engine, caller, timeline.window_s)
        self.follows = True

    def close(self) -> None:
        """Forget the film."""
        self._follower.close()

    async def judge(self, cut: Cut) -> FilmWindow | None:
        """Judge a window; None where the engine does not follow."""
        if cut.sound is not None:
            self._follower.hear(cut.sound, cut.end_s)
        for said in cut.words:
            self._follower.say(said.text, said.start_s)
        people: dict[str, Judged] = {}
        for at_s, image in cut.pictures:
            seen = await self._ask(at_s, image)
            if isinstance(seen, str):
                continue
            if isinstance(seen, Answer) and seen.explanation is not None:
                if not seen.explanation.by_modality:
                    self.follows = False
                    return None
                people |= {
                    f"{PERSON}{face.id}": judged_as(self._timeline, face.probabilities)
                    for face in seen.explanation.faces
                    if face.probabilities
                }
        # Without a picture, the voice of this very window is waited for.
        answer = await self._ask(cut.end_s)
        if isinstance(answer, str | Unanswered):
            return FilmWindow(cut.start_s, cut.end_s, note=answer if isinstance(answer, str) else answer.why)
        if answer.explanation is None or not answer.explanation.by_modality:
            self.follows = False
            return None
        self._timeline.model_version = answer.model_version
        lanes = {FUSED: judged_as(self._timeline, answer.probabilities)}
        for modality, shares in answer.explanation.by_modality.items():
            lanes[SENSES[modality]] = judged_as(self._timeline, shares)
        request_id = secrets.token_hex(16)
        await asyncio.to_thread(self._examples.add, request_id, answer)
        return FilmWindow(cut.start_s, cut.end_s, lanes | people, request_id, ". ".join(answer.notes))

    async def _ask(self, end_s: float, picture: NDArray[np.uint8] | None = None) -> Answer | Unanswered | str:
        """An answer, or why there is none."""

        async def ask(deadline_s: float) -> Answer | Unanswered:
            self._gateway.engine.check_room(self._caller)
            return await self._follower.answer(end_s, deadline_s, picture)

        return await until_answered(self._gateway, ask)


def judged_as(timeline: Timeline, probabilities: Mapping[str, float]) -> Judged:
    """What a lane says, in the order of the timeline's labels, which the first answer decides.

    Raises
    ------
    InvalidRequest
        If the labels are others than before.
    """
    timeline.labels = timeline.labels or tuple(probabilities)
    if set(probabilities) != set(timeline.labels):
        raise InvalidRequest("the model was replaced on the way by one with other labels; send the film again")
    shares = tuple(round(float(probabilities[label]), _DIGITS) for label in timeline.labels)
    best = max(range(len(shares)), key=lambda place: shares[place])
    return Judged(timeline.labels[best], shares[best], shares)
