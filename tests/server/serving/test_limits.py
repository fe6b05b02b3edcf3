"""Limits, the memory of replies, and heads of media, each by itself."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.media_files import huge_png, picture, tone, video

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest, Overloaded, RequestTooLarge
from fedaffect.server.serving.decoding.checks import check_pictures, check_sound
from fedaffect.server.serving.engines.engine import Answer
from fedaffect.server.serving.gateway.idempotency import ReplyMemory
from fedaffect.server.serving.gateway.limits import Limits
from fedaffect.server.serving.gateway.media import MediaPool

ANSWER = Answer(label="joy", probabilities={"joy": 1.0}, confidence=1.0, modalities=("text",), model_version="1")


@pytest.mark.parametrize("field", ["body_bytes", "audio_s", "decode_threads"])
def test_a_limit_is_positive(field: str) -> None:
    with pytest.raises(ConfigError, match=field):
        Limits(**{field: 0})


@pytest.mark.parametrize(
    ("asked_ms", "seconds"), [((), 10.0), ((None, 0), 10.0), ((500, 200), 0.2), ((None, 200), 0.2), ((10**9,), 60.0)]
)
def test_the_shortest_deadline_counts_and_none_is_endless(asked_ms: tuple[float, ...], seconds: float) -> None:
    assert Limits().deadline_s(100.0, *asked_ms) == pytest.approx(100.0 + seconds)


@pytest.mark.parametrize("good", ["a", "A-1._:x", "dia0 utt1", "x" * 200])
def test_ids_are_printable(good: str) -> None:
    assert Limits().request_id(good) == good


@pytest.mark.parametrize("bad", [" a", "a ", "a\nb", "ä", "\x00", "x" * 201])
def test_other_ids_are_refused(bad: str) -> None:
    with pytest.raises(InvalidRequest):
        Limits().request_id(bad)


def test_the_bounds_themselves_are_within() -> None:
    limits = Limits(text_characters=5, body_bytes=10, audio_s=1.0, video_s=2.0, picture_pixels=64, video_pixels=3072)
    assert limits.text("12345")
    limits.body(10)
    check_sound(tone(1.0), limits.media())
    check_pictures(picture(8, 8), limits.media())
    check_pictures(video(64, 48, 10, 5), limits.media())
    for refused in (
        lambda: limits.text("123456"),
        lambda: limits.body(11),
        lambda: check_sound(tone(2.0), limits.media()),
        lambda: check_pictures(picture(9, 8), limits.media()),
        lambda: check_pictures(video(66, 48, 10, 5), limits.media()),
        lambda: check_pictures(video(64, 48, 15, 5), limits.media()),
        lambda: check_pictures(huge_png(), limits.media()),
    ):
        with pytest.raises(RequestTooLarge):
            refused()


def test_repeated_ids_are_answered_once_and_forgotten_in_time() -> None:
    now, asked = [0.0], []
    memory = ReplyMemory(2, 10.0, lambda: now[0])

    async def ask(request_id: str, caller: str = "me") -> bool:
        async def compute() -> Answer:
            asked.append(request_id)
            return ANSWER

        answer, repeated = await memory.answer(caller, request_id, b"d", compute)
        assert answer is ANSWER
        return repeated

    async def run() -> None:
        assert not await ask("a")
        assert await ask("a")
        assert not await ask("a", caller="you")
        now[0] = 11.0
        assert not await ask("a")
        assert not await ask("b")
        assert not await ask("c")  # "a" was the oldest of three where two are kept
        assert not await ask("a")
        assert await ask("c")
        assert not await ask("b")

    asyncio.run(run())
    assert asked == ["a", "a", "a", "b", "c", "a", "b"]


def test_a_repetition_joins_the_first_and_outlives_it() -> None:
    async def run() -> None:
        memory, gate, asked = ReplyMemory(8, 10.0), asyncio.Event(), []

        async def compute() -> Answer:
            asked.append(1)
            await gate.wait()
            return ANSWER

        first = asyncio.create_task(memory.answer("me", "a", b"d", compute))
        await asyncio.sleep(0)
        second = asyncio.create_task(memory.answer("me", "a", b"d", compute))
        await asyncio.sleep(0)
        first.cancel()
        gate.set()
        assert await second == (ANSWER, True)
        assert asked == [1]
        with pytest.raises(asyncio.CancelledError):
            await first

    asyncio.run(run())


def test_failures_are_not_remembered() -> None:
    async def run() -> None:
        memory, outcomes = ReplyMemory(8, 10.0), [Overloaded("full", 1.0), None]

        async def compute() -> Answer:
            outcome = outcomes.pop(0)
            if outcome is not None:
                raise outcome
            return ANSWER

        with pytest.raises(Overloaded):
            await memory.answer("me", "a", b"d", compute)
        assert await memory.answer("me", "a", b"d", compute) == (ANSWER, False)

    asyncio.run(run())


def test_the_media_pool_refuses_where_too_many_wait() -> None:
    async def run() -> None:
        pool = MediaPool(Limits(decode_threads=1, decode_queue=2))
        release = asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow() -> int:
            asyncio.run_coroutine_threadsafe(release.wait(), loop).result()
            return 1

        waiting = [asyncio.create_task(pool.run(slow)) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as refused:
            await pool.run(slow)
        assert refused.value.retry_after_s > 0
        release.set()
        assert await asyncio.gather(*waiting) == [1, 1, 1]
        assert await pool.run(lambda: 2) == 2
        pool.close()

    asyncio.run(run())
