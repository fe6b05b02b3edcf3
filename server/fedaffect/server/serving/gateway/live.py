"""A live stream: the newest picture is answered, and what the server has no time for is left out, not put off."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.cloud.proto import affect_pb2 as pb
from fedaffect.edge.sample import Waveform
from fedaffect.server.errors import (
    DeadlinePassed,
    InvalidRequest,
    Overloaded,
    RequestTooLarge,
)
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.engines.explaining import SeenFace
from fedaffect.server.serving.engines.following import Unanswered
from fedaffect.server.serving.gateway.examples import example_of
from fedaffect.server.serving.gateway.gateway import Gateway, Reply, RequestContext, adapter_in
from fedaffect.server.serving.gateway.limits import now_s
from fedaffect.server.serving.gateway.one_version import Followed
from fedaffect.server.serving.gateway.stream import StreamSettings

# An answer that took longer is of no use to somebody who looks at it.
_DEADLINE_MS: Final = 3000.0
# Who waits for a turn is told so after this long, and again.
_SILENT_S: Final = 2.0
# After a refusal, at least so long until the next attempt.
_BUSY_S: Final = 0.1
# Answers whose features are at hand for a correction; at five a second, some ten seconds of them.
_AT_HAND: Final = 48
_PCM_SCALE: Final = np.float32(1 / 32768)


@dataclass(frozen=True, slots=True)
class LiveChunk:
    """What came in one message.

    Parameters
    ----------
    pcm, picture, text
        Any of them.
    time_s : float, optional
        When the picture was taken, by the sender's clock; comes back with its answer.
    """

    pcm: bytes = b""
    picture: bytes = b""
    text: str = ""
    time_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveReply:
    """What is known of the newest window.

    Parameters
    ----------
    session : str
    start_s, end_s : float
        Of the window, from the stream's beginning by the server's clock.
    reply : Reply, optional
        None where nothing in the window could be judged.
    why : str
        Then, the reason.
    faces : tuple of SeenFace
    picture_time_s : float, optional
        When the newest picture was taken, by the sender's clock; None where none came since the last answer.
    skipped : int
        Pictures that were overtaken by newer ones since the last answer.
    waited_s : float
        For its turn among the server's streams.
    """

    session: str
    start_s: float
    end_s: float
    reply: Reply | None = None
    why: str = ""
    faces: tuple[SeenFace, ...] = ()
    picture_time_s: float | None = None
    skipped: int = 0
    waited_s: float = 0.0


class AtHand:
    """Features of a stream's newest answers, in memory only, for corrections of those who allow to learn from them."""

    def __init__(self) -> None:
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._held = ""

    def add(self, request_id: str, answer: Answer) -> None:
        """Remember an answer; the oldest is forgotten, unless it is held."""
        self._answers[request_id] = answer
        while len(self._answers) > _AT_HAND:
            oldest = next(each for each in self._answers if each != self._held)
            del self._answers[oldest]

    def hold(self, request_id: str) -> None:
        """Keep one answer until another is held: somebody is thinking about it."""
        self._held = request_id

    def features(self, request_id: str) -> Mapping[str, pb.FeatureSequence]:
        """What the encoders made of the window that was answered so; nothing where that is not known any more."""
        answer = self._answers.get(request_id)
        return {} if answer is None else example_of(answer)


@dataclass(slots=True)
class _Inbox:
    """What came and was not looked at: one picture, the newest; sound goes straight to who follows."""

    gateway: Gateway
    settings: StreamSettings
    follower: Followed
    began_s: float = field(default_factory=now_s)
    came: asyncio.Event = field(default_factory=asyncio.Event)
    picture: LiveChunk | None = None
    heard: bool = False
    said: bool = False
    skipped: int = 0
    ended: bool = False

    def time_s(self) -> float:
        return now_s() - self.began_s

    async def fill(self, chunks: AsyncIterator[LiveChunk]) -> None:
        try:
            async for chunk in chunks:
                self._take(chunk)
        finally:
            self.ended = True
            self.came.set()

    def _take(self, chunk: LiveChunk) -> None:
        limits, at_s = self.gateway.limits, self.time_s()
        if at_s > limits.stream_s:
            raise RequestTooLarge(f"a stream lasts at most {limits.stream_s:g} s; begin another one")
        if chunk.pcm:
            self.follower.hear(self._sound(chunk.pcm), at_s)
            self.heard = True
        if chunk.picture:
            self.skipped += self.picture is not None
            self.picture = chunk
        if chunk.text:
            self.follower.say(limits.text(chunk.text), at_s)
            self.said = True
        self.came.set()

    def _sound(self, pcm: bytes) -> Waveform:
        longest_s, rate_hz = self.gateway.limits.stream_message_s, self.settings.sample_rate_hz
        if len(pcm) % 2:
            raise InvalidRequest("a stretch of PCM has an odd number of bytes; send whole 16-bit samples")
        if len(pcm) // 2 > longest_s * rate_hz:
            raise RequestTooLarge(f"a message holds more than {longest_s:g} s of sound; send it in shorter pieces")
        return Waveform(np.frombuffer(pcm, dtype="<i2").astype(np.float32) * _PCM_SCALE, rate_hz)

    def take(self) -> tuple[LiveChunk | None, int]:
        """What to answer: the picture, if there is a new one, and how many it overtook."""
        chunk, self.picture = self.picture, None
        skipped, self.skipped = self.skipped, 0
        self.heard = self.said = False
        return chunk, skipped

    async def due(self, earliest_s: float, pictures: bool) -> bool:
        """Wait until there is something new to answer; False where the stream is over.

        Parameters
        ----------
        earliest_s : float
            Not before, in the stream's time.
        pictures : bool
            Whether pictures come, so that sound alone is no reason to answer.
        """
        while True:
            if self.ended:
                return False
            if self.picture is not None or self.said or (self.heard and not pictures):
                wait_s = earliest_s - self.time_s()
                if wait_s <= 0:
                    return True
                await asyncio.sleep(wait_s)
                continue
            self.came.clear()
            await self.came.wait()


async def answer_live(
    gateway: Gateway,
    context: RequestContext,
    settings: StreamSettings,
    chunks: AsyncIterator[LiveChunk],
    at_hand: AtHand,
) -> AsyncIterator[LiveReply]:
    """Answer the newest picture, again and again, as often as the server can and no oftener than each hop.

    What comes is read at once, whatever the model does: a picture that was not answered when the next one comes is left
    out, and the reply says how many were.

    Raises
    ------
    ServingError
        What ends the stream.
    """
    settings.check(gateway.limits)
    adapter = adapter_in(settings.adapt)
    session = secrets.token_hex(16)
    inbox = _Inbox(gateway, settings, Followed(gateway.engine, context.caller, settings.window_s))
    reading = asyncio.create_task(inbox.fill(chunks))
    asked, left_out, earliest_s, shown_s = 0, 0, 0.0, float("-inf")
    try:
        while await inbox.due(earliest_s, pictures=inbox.time_s() - shown_s < settings.window_s):
            gateway.check_goes_on(context)
            since_s = now_s()
            async with AsyncExitStack() as turn:
                while not (entered := await _entered(turn, inbox, since_s, reading)) and not inbox.ended:
                    why = f"the server has many streams to answer; this one has waited for {now_s() - since_s:.0f} s"
                    yield _told(inbox, session, why=why, waited_s=now_s() - since_s)
                if not entered:
                    break
                waited_s, arrived_s = now_s() - since_s, now_s()
                chunk, skipped = inbox.take()
                told = _told(
                    inbox,
                    session,
                    picture_time_s=None if chunk is None else chunk.time_s,
                    skipped=skipped,
                    waited_s=waited_s,
                )
                deadline_s = gateway.limits.deadline_s(arrived_s, _DEADLINE_MS)
                earliest_s = told.end_s + settings.hop_s
                asked += 1
                context.facts["windows"] = asked
                try:
                    image = None if chunk is None else await _unpacked(gateway, chunk.picture, deadline_s)
                    answer = await inbox.follower.answer(told.end_s, deadline_s, image)
                except (Overloaded, DeadlinePassed) as error:
                    left_out += 1
                    context.facts["left_out"] = left_out
                    retry_s = error.retry_after_s if isinstance(error, Overloaded) else _BUSY_S
                    earliest_s = inbox.time_s() + max(_BUSY_S, min(retry_s, settings.window_s))
                    continue
            # Out of the turn: who reads slowly must not keep others from theirs.
            shown_s = told.end_s if chunk is not None else shown_s
            if isinstance(answer, Unanswered):
                yield replace(told, why=answer.why, faces=answer.faces)
                continue
            request_id = secrets.token_hex(16)
            at_hand.add(request_id, answer)
            gateway.account(context, answer)
            adaptation = None if adapter is None else adapter.follow(answer.probabilities, time_s=told.end_s)
            reply = Reply(
                request_id=request_id,
                answer=answer,
                latency_ms=(now_s() - arrived_s) * 1000,
                adaptation=adaptation,
            )
            yield replace(told, reply=reply, faces=answer.explanation.faces if answer.explanation else ())
        await reading
    finally:
        reading.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await reading
        inbox.follower.close()


def _told(inbox: _Inbox, session: str, **facts: Any) -> LiveReply:
    end_s = inbox.time_s()
    return LiveReply(session=session, start_s=max(end_s - inbox.settings.window_s, 0.0), end_s=end_s, **facts)


async def _entered(turn: AsyncExitStack, inbox: _Inbox, since_s: float, reading: asyncio.Task[None]) -> bool:
    """Enter the follower's turn; False where it did not come for a while, or the stream ended."""
    entering = asyncio.create_task(turn.enter_async_context(inbox.follower.turn(since_s)))
    try:
        await asyncio.wait({entering, reading}, timeout=_SILENT_S, return_when=asyncio.FIRST_COMPLETED)
    finally:
        entering.cancel()
        await asyncio.wait({entering})
    if entering.cancelled():
        return False
    entering.result()
    return True


async def _unpacked(gateway: Gateway, picture: bytes, deadline_s: float) -> NDArray[np.uint8]:
    """A picture, (H, W, 3), away from the event loop."""
    decoders, limits = gateway.media.decoders, gateway.limits.media()
    try:
        async with asyncio.timeout(max(0.0, deadline_s - now_s())):
            return await gateway.media.run(lambda: decoders.decode_picture(picture, limits, deadline_s))
    except TimeoutError:
        raise DeadlinePassed("the deadline passed before a picture was unpacked; send smaller ones") from None
