"""A film from its first window to its last: decoded as it goes, each window judged by the gateway's engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import replace
from typing import Any, Final, TypeVar

from fedaffect.edge.sample import MODALITIES, Sample, Waveform
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestTooLarge,
    Unavailable,
)
from fedaffect.server.serving.decoding.film import SOUND_HZ, FilmReader
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.films.limits import FilmLimits
from fedaffect.server.serving.films.speech import Pauses, Utterance
from fedaffect.server.serving.films.timeline import FUSED, SENSES, FilmWindow, Judged, Timeline
from fedaffect.server.serving.films.windows import Recent
from fedaffect.server.serving.gateway.gateway import Gateway, Question, RequestContext
from fedaffect.server.serving.gateway.limits import now_s

# Windows that are asked about at once, so that no core waits for the next one to be decoded.
_IN_FLIGHT: Final = 2
_PIECE_S: Final = 1.0
# Behind live requests, whose deadlines are sooner.
_DEADLINE_MS: Final = 60_000.0
_LATE_TRIES: Final = 3
_AWAY_S: Final = 60.0
_DIGITS: Final = 4

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
        limits: FilmLimits,
        threads: Executor,
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._reader = reader
        self._timeline = timeline
        self._limits = limits
        self._threads = threads
        self._recent = Recent()
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
        asked: deque[asyncio.Task[FilmWindow]] = deque()
        try:
            end_s = timeline.window_s
            while await self._decode(end_s):
                await self._ask(asked, end_s - timeline.window_s, end_s)
                end_s += timeline.hop_s
            whole_s = max(self._recent.heard_s, self._recent.seen_s)
            judged_s = end_s - timeline.hop_s if end_s > timeline.window_s else 0.0
            # Codecs add a little silence at the end, which is not worth a window.
            if whole_s > (judged_s + timeline.hop_s / 2 if judged_s else 0.0):
                await self._ask(asked, max(0.0, whole_s - timeline.window_s), whole_s)
            while asked:
                timeline.windows.append(await asked.popleft())
        finally:
            for task in asked:
                task.cancel()
        timeline.duration_s = whole_s
        timeline.notes.extend(await self._threaded(self._reader.notes))
        if not whole_s:
            raise InvalidRequest("the film holds no frames and no sound that can be decoded; save it again as MP4")
        if not any(window.lanes for window in timeline.windows):
            raise InvalidRequest(f"nothing in the film could be judged: {timeline.windows[0].note}")

    async def _ask(self, asked: deque[asyncio.Task[FilmWindow]], start_s: float, end_s: float) -> None:
        """Have a window judged; wait where enough are under way."""
        if len(asked) >= _IN_FLIGHT:
            self._timeline.windows.append(await asked.popleft())
        self._recent.forget(start_s)
        sample = Sample(
            id="",
            text=self._timeline.said(start_s, end_s) or None,
            audio=self._recent.sound(start_s, end_s),
            video=self._recent.pictures(start_s, end_s),
        )
        asked.append(asyncio.create_task(self._judge(sample, start_s, end_s)))

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

    async def _judge(self, sample: Sample, start_s: float, end_s: float) -> FilmWindow:
        """Ask about all senses together, and about each alone where there are several."""
        if not sample.modalities:
            return FilmWindow(start_s, end_s, note="there is neither picture nor sound")
        fused = await self._answer(sample)
        if isinstance(fused, str):
            return FilmWindow(start_s, end_s, note=fused)
        request_id, answer = fused
        lanes = {FUSED: self._judged(answer)}
        used = answer.modalities
        for modality in used:
            alone = answer
            if len(used) > 1:
                part = await self._answer(_only(sample, modality))
                if isinstance(part, str):
                    continue
                alone = part[1]
            lanes[SENSES[modality]] = self._judged(alone)
        return FilmWindow(start_s, end_s, lanes, request_id, ". ".join(answer.notes))

    def _judged(self, answer: Answer) -> Judged:
        labels = self._timeline.labels
        if set(answer.probabilities) != set(labels):
            raise InvalidRequest("the model was replaced on the way by one with other labels; send the film again")
        shares = tuple(round(float(answer.probabilities[label]), _DIGITS) for label in labels)
        return Judged(answer.label, round(answer.confidence, _DIGITS), shares)

    async def _answer(self, sample: Sample, *, transcribe: bool = False) -> tuple[str, Answer] | str:
        """The id and answer of one question, or why there is none; a server that is busy is asked again."""
        late, version, away_s = 0, self._timeline.model_version, now_s() + _AWAY_S
        while True:
            arrived_s = now_s()
            context = RequestContext("film", "window", arrived_s, self._caller)
            question = Question(
                sample=sample,
                model_version=version,
                transcribe=transcribe,
                deadline_s=self._gateway.limits.deadline_s(arrived_s, _DEADLINE_MS),
            )
            try:
                reply = await self._gateway.predict(context, question)
            except Overloaded as error:
                await asyncio.sleep(error.retry_after_s)
            except DeadlinePassed as error:
                late += 1
                if late == _LATE_TRIES:
                    return str(error)
            except NotFound:
                if not version:
                    raise
                # It was replaced meanwhile.
                version = ""
            except Unavailable:
                if self._gateway.draining or now_s() > away_s:
                    raise
                await asyncio.sleep(_PIECE_S)
            except InvalidRequest as error:
                return str(error)
            else:
                self._timeline.model_version = reply.answer.model_version
                self._timeline.labels = self._timeline.labels or tuple(reply.answer.probabilities)
                return reply.request_id, reply.answer

    async def _threaded(self, work: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)


def _only(sample: Sample, modality: str) -> Sample:
    nothing: dict[str, Any] = dict.fromkeys(MODALITIES)
    return replace(sample, **(nothing | {modality: getattr(sample, modality)}))
