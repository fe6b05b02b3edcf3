"""Follows a live stream with the model of this process: every picture, sound and word is encoded once."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.calibration.doubt import doubted
from fedaffect.edge.circumplex import affect_of
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.encoders.speech import SpeechEncoder
from fedaffect.edge.encoders.vision import prepare_frames
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.face_tracks import FaceTracks, Tracked
from fedaffect.edge.runtime.senses import Hearing
from fedaffect.edge.sample import MODALITIES, Frames, Waveform
from fedaffect.server.errors import ServingError
from fedaffect.server.models.full_model.model import RANDOM_WEIGHTS, FullModel
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.engines.explaining import Explanation, SeenFace, Tokens, asked_of, told_by
from fedaffect.server.serving.engines.following import Unanswered
from fedaffect.server.serving.engines.inference import Outcome, Question
from fedaffect.server.serving.scheduling.batcher import Batcher

# The voice is encoded again when so much more of it was heard: it costs three times a face, and changes more slowly.
_VOICE_STEP_S: Final = 0.5
_VOICE_LATE_S: Final = 1.5
# A clock that is so far off what was heard means that sound was lost on the way.
_LOST_S: Final = 0.5
# Faces that are encoded, and by how much another face must be larger than the one fused to take its place.
_MOST_FACES: Final = 4
_MOST_SAID: Final = 100
_LARGER: Final = 1.5

Box = tuple[float, float, float, float]


@dataclass(slots=True)
class _Voice:
    """What was made of the newest sound that was encoded; no tokens where it was not worth it."""

    start_s: float
    end_s: float
    tokens: NDArray[np.float32] | None
    note: str = ""
    doubt: str = ""


@dataclass(slots=True)
class _Words:
    text: str
    tokens: NDArray[np.float32]
    doubt: str


@dataclass(slots=True)
class _Work:
    """What one answer has to be made of, prepared on a thread."""

    end_s: float
    faces: list[Tracked] = field(default_factory=list)
    size: tuple[int, int] = (1, 1)
    crops: Prepared | None = None
    cropped: list[int] = field(default_factory=list)
    sound: tuple[float, float, Prepared, str] | None = None
    text: str | None = None
    words: Prepared | None = None
    words_doubt: str = ""
    notes: list[str] = field(default_factory=list)
    fused: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    others: list[int] = field(default_factory=list)
    doubtful: bool = False
    asked: int = 0


class LocalFollower:
    """Follows one stream; see `Follower`.

    A new picture costs one look for faces or a search where they were, and the face network once for each of the four
    largest faces. Sound is encoded every half second, beside the answers, which go on with the voice that they have;
    words are encoded when they change. The answer rests on the largest face, the voice and the words; what the other
    faces say is told for each alone.

    Parameters
    ----------
    model : FullModel
    batcher : Batcher
        Computes; shared with all other requests.
    threads : Executor
        Prepare media.
    client : str
        Whom it counts against.
    window_s : float
    """

    def __init__(
        self, model: FullModel, batcher: Batcher[Question, Outcome], threads: Executor, client: str, window_s: float
    ) -> None:
        self._model = model
        self._batcher = batcher
        self._threads = threads
        self._client = client
        self._window_s = window_s
        video = cast(Any, model.encoders.get("video"))
        self._vision: Any = None if video is None else video.settings
        self._tracks = None if video is None or video.detector is None else FaceTracks(video.detector)
        self._seen: dict[int, deque[tuple[float, NDArray[np.float32]]]] = {}
        self._main = 0
        self._pending: deque[Waveform] = deque()
        self._pending_s = 0.0
        self._pending_end_s = 0.0
        self._hearing: Hearing | None = None
        self._heard_s = 0.0
        self._voice: _Voice | None = None
        self._encoding: asyncio.Task[None] | None = None
        self._said: deque[tuple[float, str]] = deque(maxlen=_MOST_SAID)
        self._words: _Words | None = None
        self._decoded: Callable[[], None] | None = None

    def hear(self, sound: Waveform, end_s: float) -> None:
        """Keep sound until the next answer looks at it."""
        self._pending.append(sound)
        self._pending_s += _seconds(sound)
        self._pending_end_s = end_s
        while self._pending_s > self._window_s and self._pending:
            self._pending_s -= _seconds(self._pending.popleft())

    def say(self, text: str, at_s: float) -> None:
        """Keep words for as long as a window lasts."""
        self._said.append((at_s, text))

    @contextlib.asynccontextmanager
    async def turn(self, since_s: float) -> AsyncIterator[None]:
        """A turn of the batcher."""
        async with self._batcher.turn(self._client, since_s) as self._decoded:
            try:
                yield
            finally:
                self._decoded = None

    async def answer(
        self, end_s: float, deadline_s: float, picture: NDArray[np.uint8] | None = None
    ) -> Answer | Unanswered:
        """Encode what is new, then ask the fusion about all of the window."""
        pending, self._pending, self._pending_s = self._pending, deque(), 0.0
        with contextlib.ExitStack() as place:
            if self._decoded is None:
                place.enter_context(self._batcher.coming(self._client))
            work = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._prepare, end_s, picture, pending, self._pending_end_s
            )
        if self._decoded is not None:
            self._decoded()
        if work.sound is not None:
            self._encoding = asyncio.create_task(self._encode_voice(*work.sound, deadline_s))
        late = self._voice is not None and end_s - self._voice.end_s > _VOICE_LATE_S
        if self._encoding is not None and (picture is None or late):
            # Nothing but the voice is new, or the one before is of another moment, so it is waited for.
            await asyncio.wait({self._encoding})
        prepared = {m: p for m, p in (("video", work.crops), ("text", work.words)) if p is not None}
        cost = {m: self._model.encoders[m].cost(each) for m, each in prepared.items()} or {"fusion": 1}
        served = await self._batcher.submit(
            Question(prepared=prepared, rows=lambda made: self._rows(work, made)),
            cost=cost,
            client=self._client,
            deadline_s=deadline_s,
            admitted=True,
        )
        if not work.fused:
            why = ". ".join(work.notes) or "nothing came in this window"
            return Unanswered(why, self._faces(work, {}))
        return self._answer(work, served.value, served.queue_ms, served.compute_ms)

    def close(self) -> None:
        """Give up what is being encoded."""
        if self._encoding is not None:
            self._encoding.cancel()

    def _prepare(
        self, end_s: float, picture: NDArray[np.uint8] | None, pending: Sequence[Waveform], pending_end_s: float
    ) -> _Work:
        work = _Work(end_s)
        if picture is not None and self._vision is not None:
            self._look(work, picture)
        if "audio" in self._model.encoders:
            self._listen(work, pending, pending_end_s)
        self._read(work)
        return work

    def _look(self, work: _Work, picture: NDArray[np.uint8]) -> None:
        height, width = picture.shape[:2]
        work.size = (height, width)
        if self._tracks is None:
            # Pictures are faces already.
            work.crops, work.cropped = prepare_frames(Frames(picture[None], 0.0), None, self._vision), [0]
            return
        work.faces = self._tracks.follow(picture, work.end_s)
        chosen = work.faces[:_MOST_FACES]
        if not chosen:
            work.notes.append("no face was found; turn the camera to the face or come nearer")
            return
        frames = Frames(picture[None], 0.0)
        crops = [prepare_frames(frames, [tracked.face], self._vision).values for tracked in chosen]
        work.crops, work.cropped = Prepared(np.concatenate(crops)), [tracked.id for tracked in chosen]

    def _listen(self, work: _Work, pending: Sequence[Waveform], pending_end_s: float) -> None:
        encoder = cast(SpeechEncoder, self._model.encoders["audio"])
        seconds = sum(map(_seconds, pending))
        if pending and (self._hearing is None or abs(self._heard_s + seconds - pending_end_s) > _LOST_S):
            self._heard_s = max(pending_end_s - seconds, 0.0)
            self._hearing = Hearing(encoder, self._window_s + _VOICE_STEP_S, begins_s=self._heard_s)
        if self._hearing is None:
            return
        for sound in pending:
            self._hearing.add(sound)
        self._heard_s += seconds
        if self._voice is not None and self._voice.end_s < work.end_s - self._window_s:
            self._voice = None
        if self._heard_s < work.end_s - self._window_s:
            self._hearing, self._voice = None, None
            return
        busy = self._encoding is not None and not self._encoding.done()
        if busy or (self._voice is not None and self._heard_s - self._voice.end_s < _VOICE_STEP_S):
            return
        start_s = max(self._heard_s - self._window_s, 0.0)
        try:
            taken = self._hearing.take(start_s, self._heard_s)
        except DataError as error:
            self._voice = _Voice(start_s, self._heard_s, None, note=str(error))
            return
        if taken is not None:
            work.sound = start_s, self._heard_s, taken.prepared, taken.doubt

    def _read(self, work: _Work) -> None:
        while self._said and self._said[0][0] < work.end_s - self._window_s:
            self._said.popleft()
        work.text = " ".join(text for _, text in self._said) or None
        if work.text is None or "text" not in self._model.encoders:
            self._words = None
        elif self._words is None or self._words.text != work.text:
            try:
                taken = self._model.encoders["text"].take(work.text)
            except DataError as error:
                work.notes.append(f"text left out: {error}")
                self._words = None
            else:
                work.words, work.words_doubt = taken.prepared, taken.doubt

    async def _encode_voice(
        self, start_s: float, end_s: float, prepared: Prepared, doubt: str, deadline_s: float
    ) -> None:
        made: dict[str, NDArray[np.float32]] = {}

        def keep(tokens: Tokens) -> list[Tokens]:
            made.update(tokens)
            return []

        with contextlib.suppress(ServingError):
            cost = {"audio": self._model.encoders["audio"].cost(prepared)}
            question = Question(prepared={"audio": prepared}, rows=keep)
            await self._batcher.submit(question, cost=cost, client=self._client, deadline_s=deadline_s)
            self._voice = _Voice(start_s, end_s, made.get("audio"), doubt=doubt)

    def _rows(self, work: _Work, made: Tokens) -> list[Tokens]:
        """What the fusion is asked: the whole, its parts, and faces that are not in it; on a worker's thread."""
        if "video" in made:
            for face, token in zip(work.cropped, made["video"], strict=True):
                self._seen.setdefault(face, deque()).append((work.end_s, token))
        for face in list(self._seen):
            kept = self._seen[face]
            while kept and kept[0][0] < work.end_s - self._window_s:
                kept.popleft()
            if not kept:
                del self._seen[face]
        if "text" in made and work.text is not None:
            self._words = _Words(work.text, made["text"], work.words_doubt)
        self._main = self._largest(work)
        work.fused = self._fused(work)
        if not work.fused:
            return []
        work.others = [face for face in work.cropped if face != self._main and face in self._seen]
        asked = asked_of(work.fused)
        work.asked = len(asked)
        return [*asked, *({"video": self._window_of(face)} for face in work.others)]

    def _largest(self, work: _Work) -> int:
        if not work.faces:
            # While a face is hidden for a moment, the window still rests on it.
            return self._main if self._main in self._seen else next(iter(self._seen), 0)
        first = work.faces[0]
        held = next((tracked for tracked in work.faces if tracked.id == self._main), first)
        return first.id if _area(first.face.box) > _LARGER * _area(held.face.box) else held.id

    def _fused(self, work: _Work) -> dict[str, NDArray[np.float32]]:
        tokens: dict[str, NDArray[np.float32]] = {}
        doubts: dict[str, str] = {}
        if self._words is not None:
            tokens["text"], doubts["text"] = self._words.tokens, self._words.doubt
        if self._voice is not None and self._voice.note:
            work.notes.append(f"audio left out: {self._voice.note}")
        elif self._voice is not None and self._voice.tokens is not None:
            tokens["audio"], doubts["audio"] = self._voice.tokens, self._voice.doubt
        if self._main in self._seen:
            tokens["video"], doubts["video"] = self._window_of(self._main), ""
        doubtful = {modality: why for modality, why in doubts.items() if why}
        work.doubtful = bool(tokens) and len(doubtful) == len(tokens)
        for modality, why in doubtful.items():
            # As of whole clips: noise has no emotion, and is used only where there is nothing better.
            work.notes.append(f"{why}; it was used as it is" if work.doubtful else f"{modality} left out: {why}")
            if not work.doubtful:
                del tokens[modality]
        return {modality: tokens[modality] for modality in MODALITIES if modality in tokens}

    def _window_of(self, face: int) -> NDArray[np.float32]:
        """A face's tokens, newest last, no denser than the encoder's own rate: what the fusion was trained on."""
        kept: list[NDArray[np.float32]] = []
        before_s = float("inf")
        for at_s, token in reversed(self._seen[face]):
            if before_s - at_s >= 0.9 / self._vision.frames_per_second:
                kept.append(token)
                before_s = at_s
        return np.stack(kept[::-1])

    def _answer(self, work: _Work, outcome: Outcome, queue_ms: float, compute_ms: float) -> Answer:
        labels = self._model.labels

        def named(shares: NDArray[np.float32]) -> dict[str, float]:
            return {label: float(value) for label, value in zip(labels, shares, strict=True)}

        probabilities = named(doubted(outcome.probabilities, work.doubtful))
        label = max(probabilities, key=lambda name: probabilities[name])
        alone, weights = told_by(tuple(work.fused), outcome.shares[: work.asked])
        faces = dict(zip(work.others, (named(shares) for shares in outcome.shares[work.asked :]), strict=True))
        if "video" in alone:
            faces[self._main] = named(alone["video"])
        ratings = dict(zip(self._model.card.ratings, outcome.ratings[0].tolist(), strict=True))
        explanation = Explanation(
            by_modality={modality: named(shares) for modality, shares in alone.items()},
            weights=weights,
            affect=affect_of(probabilities, ratings),
            faces=self._faces(work, faces),
            windows=self._windows(work),
            features=work.fused,
            encoder_keys={modality: self._model.encoders[modality].key for modality in work.fused},
        )
        return Answer(
            label=label,
            probabilities=probabilities,
            confidence=probabilities[label],
            modalities=tuple(work.fused),
            model_version=self._model.card.version,
            notes=(*work.notes, *outcome.notes, *((RANDOM_WEIGHTS,) if self._model.card.random_init else ())),
            queue_ms=queue_ms,
            compute_ms=compute_ms,
            explanation=explanation,
        )

    def _faces(self, work: _Work, told: Mapping[int, Mapping[str, float]]) -> tuple[SeenFace, ...]:
        height, width = work.size
        return tuple(
            SeenFace(
                tracked.id,
                _relative(tracked.face.box, width, height),
                told.get(tracked.id, {}),
                fused="video" in work.fused and tracked.id == self._main,
            )
            for tracked in work.faces
        )

    def _windows(self, work: _Work) -> dict[str, tuple[float, float]]:
        spans: dict[str, tuple[float, float]] = {}
        if "video" in work.fused:
            seen = self._seen[self._main]
            spans["video"] = seen[0][0], seen[-1][0]
        if "audio" in work.fused and self._voice is not None:
            spans["audio"] = self._voice.start_s, self._voice.end_s
        if "text" in work.fused and self._said:
            spans["text"] = self._said[0][0], self._said[-1][0]
        return spans


def _seconds(sound: Waveform) -> float:
    return len(sound.samples) / sound.sample_rate_hz


def _relative(box: Box, width: int, height: int) -> Box:
    left, top, right, bottom = box
    return left / width, top / height, right / width, bottom / height


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])
