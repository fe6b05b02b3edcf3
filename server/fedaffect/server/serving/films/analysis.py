"""A film from its first window to its last: decoded as it goes, each window judged by the gateway's engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.sample import MODALITIES, Sample, Waveform
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.decoding.film import SOUND_HZ, FilmReader
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.films.asking import until_answered
from fedaffect.server.serving.films.examples import FilmExamples
from fedaffect.server.serving.films.following import Cut, Following, judged_as
from fedaffect.server.serving.films.limits import FilmLimits
from fedaffect.server.serving.films.speech import Pauses, Utterance
from fedaffect.server.serving.films.timeline import FUSED, SENSES, FilmWindow, Timeline
from fedaffect.server.serving.films.windows import Recent
from fedaffect.server.serving.gateway.gateway import Gateway, Question, RequestContext
from fedaffect.server.serving.gateway.limits import now_s
from fedaffect.server.serving.gateway.one_version import OneVersion

_PIECE_S: Final = 1.0

NO_WORDS: Final = (
    "words were not looked for: this server does not transcribe; install fedaffect[transcribe] and start it with "
    "--transcribe"
)
_WORDS: Final = "words were written down by a machine; when each was said is estimated from its length"
_SILENT: Final = "the film has no sound, so nothing was said"

Result = TypeVar("Result")


class Analysis:
    """Judges one film.

    Parameters
    ----------
    gateway : Gateway
        Its engine answers; a busy one is asked again.
    caller : str
        Whose fairness it counts against.
    reader : FilmReader
    timeline : Timeline
        Filled as windows are judged.
    examples : FilmExamples
        Likewise.
    limits : FilmLimits
    threads : Executor
        On which is waited for the decoder.
    """

    def __init__(
        self,
        gateway: Gateway,
        caller: str,
        reader: FilmReader,
        timeline: Timeline,
        examples: FilmExamples,
        limits: FilmLimits,
        threads: Executor,
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._reader = reader
        self._timeline = timeline
        self._examples = examples
        self._limits = limits
        self._threads = threads
        self._one = OneVersion(gateway)
        self._recent = Recent()
        self._fresh: list[tuple[float, NDArray[np.uint8]]] = []
        self._cut_s = 0.0
        self._pauses: Pauses | None = Pauses(SOUND_HZ)

    async def run(self) -> None:
        """Judge all of it.

        Raises
        ------
        ServingError, DataError
            Where nothing of it can be judged, or decoding fails.
        """
        timeline, limits = self._timeline, self._limits
        facts = await self._threaded(lambda: self._reader.open(limits.film_s, limits.film_pixels))
        timeline.duration_s = facts.duration_s
        timeline.words_note = _WORDS if facts.sound else _SILENT
        if not facts.pictures:
            timeline.notes.append("the film has no pictures; only voice and words were judged")
        self._follower = Following(self._gateway, self._caller, timeline, self._examples)
        try:
            whole_s = await self._windows()
        finally:
            self._follower.close()
        timeline.duration_s = whole_s
        timeline.notes.extend(await self._threaded(self._reader.notes))
        if not whole_s:
            raise InvalidRequest("the film holds no frames and no sound that can be decoded; save it again as MP4")
        if not any(window.lanes for window in timeline.windows):
            raise InvalidRequest(f"nothing in the film could be judged: {timeline.windows[0].note}")

    async def _windows(self) -> float:
        """Judge window after window, each while the next one is decoded; how long the film is."""
        timeline, end_s = self._timeline, self._timeline.window_s
        decoding = asyncio.create_task(self._decode(end_s))
        try:
            while await decoding:
                window = self._cut(end_s - timeline.window_s, end_s)
                end_s += timeline.hop_s
                decoding = asyncio.create_task(self._decode(end_s))
                timeline.windows.append(await self._judge(window))
        finally:
            decoding.cancel()
        whole_s = max(self._recent.heard_s, self._recent.seen_s)
        judged_s = end_s - timeline.hop_s if timeline.windows else 0.0
        # Codecs add a little silence at the end, which is not worth a window.
        if whole_s > (judged_s + timeline.hop_s / 2 if timeline.windows else 0.0):
            timeline.windows.append(await self._judge(self._cut(max(0.0, whole_s - timeline.window_s), whole_s)))
        return whole_s

    def _cut(self, start_s: float, end_s: float) -> Cut:
        self._recent.forget(start_s)
        fresh = [(at_s, image) for at_s, image in self._fresh if at_s < end_s]
        self._fresh = self._fresh[len(fresh) :]
        before_s, self._cut_s = self._cut_s, end_s
        return Cut(
            start_s,
            end_s,
            sample=Sample(
                id="",
                text=self._timeline.said(start_s, end_s) or None,
                audio=self._recent.sound(start_s, end_s),
                video=self._recent.pictures(start_s, end_s),
            ),
            pictures=fresh,
            sound=self._recent.sound(before_s, end_s),
            words=self._timeline.between(before_s, end_s),
        )

    async def _judge(self, cut: Cut) -> FilmWindow:
        """By an engine that follows the film; else, each window by itself."""
        if self._follower.follows:
            window = await self._follower.judge(cut)
            if window is not None:
                return window
        return await self._by_itself(cut.sample, cut.start_s, cut.end_s)

    async def _decode(self, end_s: float) -> bool:
        """Decode up to a moment, and write down what was said until then; False where the film ends before."""
        reader, recent = self._reader, self._recent
        if end_s > self._limits.film_s + self._timeline.window_s:
            raise RequestTooLarge(f"the film lasts more than {self._limits.film_s:g} s; cut it")
        while not reader.sound_ended and min(recent.heard_s, self._written_s()) < end_s:
            samples = await self._threaded(lambda: reader.sound(int(_PIECE_S * SOUND_HZ)))
            recent.hear(samples)
            if self._pauses is not None:
                utterances = self._pauses.add(samples)
                for utterance in utterances + (self._pauses.last() if reader.sound_ended else []):
                    await self._write_down(utterance)
        while not reader.pictures_ended and recent.seen_s < end_s:
            shown = await self._threaded(lambda: reader.pictures(end_s))
            if not shown:
                break
            recent.see(shown)
            self._fresh.extend(shown)
        return not (reader.sound_ended and reader.pictures_ended) or max(recent.heard_s, recent.seen_s) >= end_s

    def _written_s(self) -> float:
        return float("inf") if self._pauses is None else self._pauses.cut_s

    async def _write_down(self, utterance: Utterance) -> None:
        """Find the words of a piece of sound; where the server does not transcribe, look for no more of them."""
        if self._pauses is None:
            return
        sample = Sample(id="", audio=Waveform(utterance.samples, utterance.rate_hz))
        answer = await self._answer(sample, transcribe=True)
        if isinstance(answer, str):
            return
        if answer[1].transcript is None:
            self._pauses = None
            self._timeline.words_note = NO_WORDS
            return
        self._timeline.words.extend(utterance.said(answer[1].transcript))

    async def _by_itself(self, sample: Sample, start_s: float, end_s: float) -> FilmWindow:
        """Ask about all senses together, and about each alone where there are several."""
        if not sample.modalities:
            return FilmWindow(start_s, end_s, note="there is neither picture nor sound")
        fused = await self._answer(sample)
        if isinstance(fused, str):
            return FilmWindow(start_s, end_s, note=fused)
        request_id, answer = fused
        lanes = {FUSED: judged_as(self._timeline, answer.probabilities)}
        used = answer.modalities
        for modality in used:
            alone = answer
            if len(used) > 1:
                part = await self._answer(_only(sample, modality))
                if isinstance(part, str):
                    continue
                alone = part[1]
            lanes[SENSES[modality]] = judged_as(self._timeline, alone.probabilities)
        return FilmWindow(start_s, end_s, lanes, request_id, ". ".join(answer.notes))

    async def _answer(self, sample: Sample, *, transcribe: bool = False) -> tuple[str, Answer] | str:
        """The id and answer of one question, or why there is none."""

        async def ask(deadline_s: float) -> tuple[str, Answer]:
            context = RequestContext("film", "window", now_s(), self._caller)
            question = Question(sample=sample, transcribe=transcribe, deadline_s=deadline_s)
            reply = await self._one.predict(context, question)
            self._timeline.model_version = reply.answer.model_version
            return reply.request_id, reply.answer

        return await until_answered(self._gateway, ask)

    async def _threaded(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _only(sample: Sample, modality: str) -> Sample:
    nothing: dict[str, Any] = dict.fromkeys(MODALITIES)
    return replace(sample, **(nothing | {modality: getattr(sample, modality)}))
