"""A live stream as an engine follows it: newest picture first, and nothing worked on twice where that can be helped."""

from __future__ import annotations

import secrets
from collections import deque
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.circumplex import affect_of
from fedaffect.edge.sample import Frames, Sample, Waveform
from fedaffect.server.errors import InvalidRequest
from fedaffect.server.serving.engines.engine import Answer, Request
from fedaffect.server.serving.engines.explaining import Explanation, SeenFace

if TYPE_CHECKING:
    from fedaffect.server.serving.engines.engine import Engine

# Pictures a second that encoders of whole windows are given.
_PICTURES_PER_SECOND: Final = 5.0


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Nothing in the window can be judged.

    Parameters
    ----------
    why : str
    faces : tuple of SeenFace
    """

    why: str
    faces: tuple[SeenFace, ...] = ()


class Follower(Protocol):
    """Follows one stream. All times are seconds from its beginning; one answer is asked for at a time."""

    def hear(self, sound: Waveform, end_s: float) -> None:
        """Take sound that ends at a time and follows what came before."""
        ...

    def say(self, text: str, at_s: float) -> None:
        """Take words."""
        ...

    def turn(self, since_s: float) -> AbstractAsyncContextManager[None]:
        """Wait for a turn among all streams, within which a window is decoded and answered.

        Parameters
        ----------
        since_s : float
            Since when it waits, on the clock of ``time.monotonic``; of clients with as many turns under way, who has
            waited longest is next.

        Raises
        ------
        ServingError
            `Unavailable` where the engine is stopping.
        """
        ...

    async def answer(
        self, end_s: float, deadline_s: float, picture: NDArray[np.uint8] | None = None
    ) -> Answer | Unanswered:
        """Answer the window that ends at a time.

        Parameters
        ----------
        end_s : float
        deadline_s : float
            On the clock of ``time.monotonic``.
        picture : uint8 array, shape (H, W, 3), optional
            The newest, taken at the window's end.

        Raises
        ------
        ServingError
            As of `Engine.predict`; `NotFound` where the version that it follows with is no longer served.
        """
        ...

    def close(self) -> None:
        """Forget the stream."""
        ...


class WholeWindows:
    """Follows a stream with any engine: each window is a question of its own, worked on from its beginning.

    For engines that keep nothing of a stream. Faces are not told, nor what each modality says.

    Parameters
    ----------
    engine : Engine
    client : str
        Whom it counts against.
    window_s : float
    """

    def __init__(self, engine: Engine, client: str, window_s: float) -> None:
        self._engine = engine
        self._client = client
        self._window_s = window_s
        self._pictures: deque[tuple[float, NDArray[np.uint8]]] = deque()
        self._sound: deque[tuple[float, Waveform]] = deque()
        self._words: deque[tuple[float, str]] = deque()
        self._version = ""

    def hear(self, sound: Waveform, end_s: float) -> None:
        """Keep it for as long as a window lasts."""
        self._sound.append((end_s, sound))
        _forget(self._sound, end_s - self._window_s)

    def say(self, text: str, at_s: float) -> None:
        """Keep them."""
        self._words.append((at_s, text))

    def turn(self, _since_s: float) -> AbstractAsyncContextManager[None]:
        """None is waited for: the engine turns away what it has no room for."""
        return nullcontext()

    async def answer(
        self, end_s: float, deadline_s: float, picture: NDArray[np.uint8] | None = None
    ) -> Answer | Unanswered:
        """Ask about the last window's worth of what came."""
        start_s = end_s - self._window_s
        _forget(self._pictures, start_s)
        _forget(self._sound, start_s)
        _forget(self._words, start_s)
        if picture is not None and (
            not self._pictures or end_s - self._pictures[-1][0] >= 1 / _PICTURES_PER_SECOND - 5e-4
        ):
            if self._pictures and self._pictures[-1][1].shape != picture.shape:
                self._pictures.clear()
            self._pictures.append((end_s, picture))
        sample = Sample(id="", text=self._said(), audio=self._heard(), video=self._shown())
        if not sample.modalities:
            return Unanswered("nothing came in this window")
        request = Request(
            id=secrets.token_hex(16),
            sample=sample,
            client=self._client,
            deadline_s=deadline_s,
            model_version=self._version,
        )
        try:
            answer = await self._engine.predict(request)
        except InvalidRequest as error:
            return Unanswered(str(error))
        self._version = answer.model_version
        windows = dict.fromkeys(answer.modalities, (max(start_s, 0.0), end_s))
        told = Explanation(by_modality={}, weights={}, affect=affect_of(answer.probabilities), windows=windows)
        return answer.explained(told)

    def close(self) -> None:
        """Nothing is kept elsewhere."""

    def _said(self) -> str | None:
        return " ".join(text for _, text in self._words) or None

    def _heard(self) -> Waveform | None:
        if not self._sound:
            return None
        rate_hz = self._sound[-1][1].sample_rate_hz
        return Waveform(np.concatenate([sound.samples for _, sound in self._sound]), rate_hz)

    def _shown(self) -> Frames | None:
        if not self._pictures:
            return None
        span_s = self._pictures[-1][0] - self._pictures[0][0]
        rate_hz = (len(self._pictures) - 1) / span_s if span_s > 0 else 0.0
        return Frames(np.stack([picture for _, picture in self._pictures]), rate_hz)


def _forget(kept: deque[tuple[float, Any]], before_s: float) -> None:
    while kept and kept[0][0] < before_s:
        kept.popleft()
