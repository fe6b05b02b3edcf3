"""Windows over sound, pictures and words that come in bit by bit; both transports share it."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.adaptation import Adapter
from fedaffect.edge.sample import Frames, Sample, Waveform
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    NothingToGoBy,
    Overloaded,
    RequestTooLarge,
)
from fedaffect.server.serving.gateway.gateway import Gateway, Question, Reply, RequestContext, adapter_in
from fedaffect.server.serving.gateway.limits import Limits, now_s
from fedaffect.server.serving.gateway.one_version import OneVersion

# More pictures a second than this tell an encoder nothing new, and it takes no more than so many of a window; the rest
# is left out as it comes.
_PICTURES_PER_SECOND: Final = 10.0
_PICTURES_PER_WINDOW: Final = 150
# A camera's clock may be rounded.
_ROUNDING_S: Final = 5e-4
# Unpacked pictures that a stream keeps for its next windows: 3 s of them at 640 x 480. The others are unpacked again.
_UNPACKED_BYTES: Final = 32 * 2**20
# What was heard is kept in pieces of this length, so that it can be let go as windows move on.
_PIECE_S: Final = 1.0
_PCM_SCALE: Final = np.float32(1 / 32768)


@dataclass(frozen=True, slots=True)
class StreamSettings:
    """How a stream is cut.

    Parameters
    ----------
    sample_rate_hz : int
        Of its sound.
    window_s, hop_s : float
        How long a window is, and how far the next one begins after it.
    adapt : str
        Language in which to say how an app should adapt, after all windows so far; empty to leave it out.
    """

    sample_rate_hz: int = 16_000
    window_s: float = 3.0
    hop_s: float = 0.5
    adapt: str = ""

    def check(self, limits: Limits) -> None:
        """Refuse what is outside the limits.

        Raises
        ------
        InvalidRequest
        """
        low, high = limits.window_s
        if not low <= self.window_s <= high:
            raise InvalidRequest(f"window_s is {self.window_s:g}; choose {low:g} to {high:g}")
        if not limits.shortest_hop_s <= self.hop_s <= self.window_s:
            raise InvalidRequest(f"hop_s is {self.hop_s:g}; choose {limits.shortest_hop_s:g} to window_s")
        slow, fast = limits.sample_rate_hz
        if not slow <= self.sample_rate_hz <= fast:
            raise InvalidRequest(f"sample_rate_hz is {self.sample_rate_hz}; choose {slow} to {fast}")


@dataclass(slots=True)
class Picture:
    """A picture of a stream: as it came, and unpacked where there is room.

    Parameters
    ----------
    data : bytes
    image : uint8 array, shape (H, W, 3), optional
    """

    data: bytes
    image: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a stream, ready to be asked about.

    Parameters
    ----------
    start_s, end_s : float
        From the stream's start.
    text : str
    sound : Waveform, optional
    pictures : tuple of (float, Picture)
        Each with its time.
    """

    start_s: float
    end_s: float
    text: str = ""
    sound: Waveform | None = None
    pictures: tuple[tuple[float, Picture], ...] = ()


@dataclass(frozen=True, slots=True)
class WindowReply:
    """The answer to one window, and the id of the stream that it belongs to."""

    window: Window
    reply: Reply
    session: str


@dataclass(slots=True)
class _Order:
    """Sees that times do not go back."""

    what: str
    at_s: float = 0.0
    said_s: float = 0.0

    def place(self, at_s: float, said: bool) -> float:
        """Where something belongs whose time is this; the sender's own times are held against each other alone."""
        if said:
            if at_s < self.said_s - _ROUNDING_S:
                raise InvalidRequest(
                    f"time_s goes back from {self.said_s:g} to {at_s:g}; send {self.what} in their order"
                )
            self.said_s = at_s
        self.at_s = max(at_s, self.at_s)
        return self.at_s


class WindowCutter:
    """Keeps the last window's worth of what came, and cuts windows out of it.

    Where sound comes, it is the stream's clock: pictures and words that say no time belong to where the sound is.
    Without sound, the clock is when they arrived. The first window ends after ``window_s``, then one ends each hop.

    Parameters
    ----------
    settings : StreamSettings
    limits : Limits
    """

    def __init__(self, settings: StreamSettings, limits: Limits) -> None:
        self._settings = settings
        self._limits = limits
        self._began_s = now_s()
        self._sound: deque[NDArray[np.float32]] = deque()
        self._sound_values = 0
        self._sound_end = 0  # in samples from the stream's start
        self._pictures: deque[tuple[float, Picture]] = deque()
        self._picture_bytes = 0
        self._shown, self._said = _Order("pictures"), _Order("words")
        self._pictures_per_second = min(_PICTURES_PER_SECOND, _PICTURES_PER_WINDOW / settings.window_s)
        self._words: deque[tuple[float, str]] = deque()
        self._end_s = 0.0
        self._next_end_s = settings.window_s
        self._cut_to_s = 0.0

    def add_sound(self, pcm: bytes) -> None:
        """Take mono 16-bit little-endian PCM that follows what came before.

        Raises
        ------
        InvalidRequest
            If it ends within a sample.
        RequestTooLarge
            If it is too long for one message, or for the stream.
        """
        if len(pcm) % 2:
            raise InvalidRequest("a stretch of PCM has an odd number of bytes; send whole 16-bit samples")
        longest_s = self._limits.stream_message_s
        if len(pcm) // 2 > longest_s * self._rate:
            raise RequestTooLarge(f"a message holds more than {longest_s:g} s of sound; send it in shorter pieces")
        self._advance((self._sound_end + len(pcm) // 2) / self._rate)
        step = 2 * max(1, round(_PIECE_S * self._rate))
        for start in range(0, len(pcm), step):
            samples = np.frombuffer(pcm[start : start + step], dtype="<i2").astype(np.float32) * _PCM_SCALE
            self._sound.append(samples)
            self._sound_values += len(samples)
            self._sound_end += len(samples)

    def add_picture(self, data: bytes, image: NDArray[np.uint8], time_s: float | None) -> None:
        """Take one picture: as it came, and unpacked, (H, W, 3), which is kept where there is room.

        Raises
        ------
        InvalidRequest
            If it is older than the one before.
        RequestTooLarge
            If those of one window take too much.
        """
        at_s = self._shown.place(self._time(time_s), time_s is not None)
        if self._pictures and at_s - self._pictures[-1][0] < 1 / self._pictures_per_second - _ROUNDING_S:
            return
        self._picture_bytes += len(data)
        self._pictures.append((at_s, Picture(data)))
        while len(self._pictures) > 2 * _PICTURES_PER_WINDOW:
            self._drop_picture()
        if self._picture_bytes > (most := self._limits.stream_pictures_bytes):
            raise RequestTooLarge(f"pictures of one window take more than {most / 2**20:g} MiB; send smaller ones")
        kept = sum(each.image.nbytes for _, each in self._pictures if each.image is not None)
        if kept + image.nbytes <= _UNPACKED_BYTES:
            self._pictures[-1][1].image = image
        self._advance(at_s)

    def add_words(self, text: str, time_s: float | None) -> None:
        """Take words said in this stretch.

        Raises
        ------
        InvalidRequest
            If they were said before those that came before.
        RequestTooLarge
            If those of one window are too many.
        """
        at_s = self._said.place(self._time(time_s), time_s is not None)
        self._words.append((at_s, text))
        self._limits.text(" ".join(words for _, words in self._words))
        self._advance(at_s)

    def windows(self) -> Iterator[Window | None]:
        """Windows that are complete now and were not cut before, one at a time; None for one with nothing in it.

        Only what one window holds is copied, so that a long message costs no more memory than itself.
        """
        while self._next_end_s <= self._end_s + 1e-9:
            start_s = self._next_end_s - self._settings.window_s
            self._drop_before(start_s)
            window = self._cut(start_s, self._next_end_s)
            self._cut_to_s = self._next_end_s
            self._next_end_s += self._settings.hop_s
            yield window
        self._drop_before(self._next_end_s - self._settings.window_s)

    def last(self) -> Window | None:
        """What came after the last window, at the stream's end; None where nothing did."""
        # A picture or a word at the very end lies in the window that ends there.
        tail = [at for at, _ in (*self._pictures, *self._words) if at >= self._cut_to_s]
        if self._end_s <= self._cut_to_s + 1e-9 and not tail:
            return None
        return self._cut(max(self._end_s - self._settings.window_s, 0.0), self._end_s + 1e-6)

    @property
    def _rate(self) -> int:
        return self._settings.sample_rate_hz

    def _time(self, said_s: float | None) -> float:
        if said_s is not None:
            # A clock that runs ahead must not make the server cut a million empty windows.
            if said_s > self._limits.stream_s:
                raise RequestTooLarge(f"a stream lasts at most {self._limits.stream_s:g} s; begin another one")
            return said_s
        return self._sound_end / self._rate if self._sound_end else now_s() - self._began_s

    def _advance(self, to_s: float) -> None:
        if to_s > self._limits.stream_s:
            raise RequestTooLarge(f"a stream lasts at most {self._limits.stream_s:g} s; begin another one")
        self._end_s = max(self._end_s, to_s)

    def _cut(self, start_s: float, end_s: float) -> Window | None:
        text = " ".join(words for at, words in self._words if start_s <= at < end_s).strip()
        shown = tuple((at, picture) for at, picture in self._pictures if start_s <= at < end_s)
        heard = self._heard(start_s, end_s)
        if not (text or shown or heard is not None):
            return None
        return Window(start_s, min(end_s, max(self._end_s, start_s)), text, heard, shown)

    def _heard(self, start_s: float, end_s: float) -> Waveform | None:
        at = self._sound_end - self._sound_values
        start, end = round(start_s * self._rate), round(end_s * self._rate)
        pieces = []
        for piece in self._sound:
            if at < end and at + len(piece) > start:
                pieces.append(piece[max(start - at, 0) : max(end - at, 0)])
            at += len(piece)
        return Waveform(np.concatenate(pieces), self._rate) if pieces else None

    def _drop_before(self, start_s: float) -> None:
        """Let go of what the windows still to be cut cannot reach any more."""
        keep = self._sound_end - int(max(start_s, 0.0) * self._rate)
        while self._sound and self._sound_values - len(self._sound[0]) >= keep:
            self._sound_values -= len(self._sound.popleft())
        while self._pictures and self._pictures[0][0] < start_s:
            self._drop_picture()
        while self._words and self._words[0][0] < start_s:
            self._words.popleft()

    def _drop_picture(self) -> None:
        self._picture_bytes -= len(self._pictures.popleft()[1].data)


@dataclass(frozen=True, slots=True)
class Chunk:
    """What came in one message.

    Parameters
    ----------
    pcm, picture, text
        Any of them.
    time_s : float, optional
        When it begins, from the stream's start.
    """

    pcm: bytes = b""
    picture: bytes = b""
    text: str = ""
    time_s: float | None = None


async def answer_stream(
    gateway: Gateway, context: RequestContext, settings: StreamSettings, chunks: AsyncIterator[Chunk]
) -> AsyncIterator[WindowReply]:
    """Answer each window of a stream.

    The next chunk is read when the last window was answered, so that a caller who sends faster than the model computes
    is slowed down by the connection, and memory stays bounded. A window that finds the queue full or its deadline
    passed is left out, as is one of which an encoder can make nothing, and the next reply says so.

    Raises
    ------
    ServingError
        What ends the stream.
    """
    settings.check(gateway.limits)
    cutter = WindowCutter(settings, gateway.limits)
    asked = _Asker(gateway, context, adapter_in(settings.adapt))
    session = secrets.token_hex(16)
    async for chunk in chunks:
        if chunk.time_s is not None and not 0 <= chunk.time_s < float("inf"):
            raise InvalidRequest("time_s is not a time from the stream's start")
        if chunk.pcm:
            cutter.add_sound(chunk.pcm)
        if chunk.picture:
            (image,) = await _unpacked(gateway, [chunk.picture], gateway.limits.deadline_s(now_s()))
            cutter.add_picture(chunk.picture, image, chunk.time_s)
        if chunk.text:
            cutter.add_words(chunk.text, chunk.time_s)
        gateway.check_goes_on(context)
        for window in cutter.windows():
            # A message may hold hundreds of windows; others have their turn between any two.
            await asyncio.sleep(0)
            if window is not None and (reply := await asked.ask(window)) is not None:
                yield WindowReply(window, reply, session)
    if (rest := cutter.last()) is not None and (reply := await asked.ask(rest)) is not None:
        yield WindowReply(rest, reply, session)


async def _unpacked(gateway: Gateway, pictures: Sequence[bytes], deadline_s: float) -> list[NDArray[np.uint8]]:
    """Pictures, (H, W, 3), away from the event loop."""
    decoders, limits = gateway.media.decoders, gateway.limits.media()
    try:
        async with asyncio.timeout(max(0.0, deadline_s - now_s())):
            return await gateway.media.run(
                lambda: [decoders.decode_picture(data, limits, deadline_s) for data in pictures]
            )
    except TimeoutError:
        raise DeadlinePassed("the deadline passed before a picture was unpacked; send smaller ones") from None


class _Asker:
    def __init__(self, gateway: Gateway, context: RequestContext, adapter: Adapter | None) -> None:
        self._gateway = gateway
        self._context = context
        self._adapter = adapter
        self._asked = 0
        self._left_out = 0
        self._left_out_in_all = 0
        self._empty: list[str] = []
        self._one = OneVersion(gateway)

    async def ask(self, window: Window) -> Reply | None:
        self._asked += 1
        self._context.facts["windows"] = self._asked
        try:
            reply = await self._answer(window)
        except (Overloaded, DeadlinePassed):
            self._left_out += 1
            self._left_out_in_all += 1
            self._context.facts["left_out"] = self._left_out_in_all
            return None
        except NothingToGoBy as error:
            # Somebody who turned away turns back.
            self._empty.append(str(error))
            return None
        notes = []
        if self._left_out:
            notes.append(f"{self._left_out} windows before this one were left out; the server was busy")
        if self._empty:
            notes.append(f"{len(self._empty)} windows before this one had nothing to go by: {self._empty[-1]}")
        if notes:
            reply = replace(reply, answer=replace(reply.answer, notes=(*reply.answer.notes, *notes)))
            self._left_out, self._empty = 0, []
        if self._adapter is not None:
            reply = replace(reply, adaptation=self._adapter.follow(reply.answer.probabilities, time_s=window.end_s))
        return reply

    async def _answer(self, window: Window) -> Reply:
        arrived_s = now_s()
        context, deadline_s = replace(self._context, arrived_s=arrived_s), self._gateway.limits.deadline_s(arrived_s)
        sample = await self._sample(window, deadline_s)
        return await self._one.predict(context, Question(sample=sample, deadline_s=deadline_s))

    async def _sample(self, window: Window, deadline_s: float) -> Sample:
        """What the engine is asked, its pictures unpacked."""
        packed = [picture.data for _, picture in window.pictures if picture.image is None]
        images = iter(await _unpacked(self._gateway, packed, deadline_s) if packed else ())
        shown = [(at, next(images) if picture.image is None else picture.image) for at, picture in window.pictures]
        return Sample(id="", text=window.text or None, audio=window.sound, video=_frames(shown) if shown else None)


def _frames(shown: list[tuple[float, NDArray[np.uint8]]]) -> Frames:
    """Pictures of one size, the last one's; senders turn their phones."""
    height, width = shown[-1][1].shape[:2]
    images = [
        picture
        if picture.shape[:2] == (height, width)
        else np.asarray(Image.fromarray(picture).resize((width, height)))
        for _, picture in shown
    ]
    span_s = shown[-1][0] - shown[0][0]
    return Frames(np.stack(images), (len(shown) - 1) / span_s if span_s > 0 else 0.0)
