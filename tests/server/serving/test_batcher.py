"""The batcher on a real event loop and real threads; what it computes is held back until a test lets it go."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from threading import Semaphore
from time import monotonic
from typing import TypeVar

import pytest

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import DeadlinePassed, Overloaded, Unavailable
from fedaffect.server.serving.scheduling.batcher import Batcher, BatcherConfig, Computed

T = TypeVar("T")


class Gate:
    """A compute function that waits for `let` before each batch, and says what each request cost."""

    def __init__(self, seconds: float = 0.01) -> None:
        self.batches: list[list[str]] = []
        self._seconds = seconds
        self._turns = Semaphore(0)

    def let(self, batches: int = 1) -> None:
        self._turns.release(batches)

    def __call__(self, items: list[str]) -> Computed[str]:
        assert self._turns.acquire(timeout=300)
        self.batches.append(items)
        answers = [ValueError(item) if item == "bad" else item.upper() for item in items]
        return Computed(answers, {"text": self._seconds * len(items)})


def run(body: Callable[[Batcher[str, str], Gate], Awaitable[T]], config: BatcherConfig | None = None) -> T:
    async def whole() -> T:
        gate = Gate()
        batcher: Batcher[str, str] = Batcher(gate, config)
        try:
            return await asyncio.wait_for(body(batcher, gate), 30)
        finally:
            gate.let(1000)
            await batcher.close(5)

    return asyncio.run(whole())


def ask(batcher: Batcher[str, str], item: str, client: str = "", deadline_s: float = float("inf")) -> asyncio.Task[str]:
    async def one() -> str:
        served = await batcher.submit(item, cost={"text": 1}, client=client, deadline_s=deadline_s)
        assert served.queue_ms >= 0
        assert served.compute_ms >= 0
        return served.value

    return asyncio.get_running_loop().create_task(one())


async def measured(batcher: Batcher[str, str], gate: Gate) -> None:
    """So that the batcher knows what a request costs."""
    gate.let()
    assert await ask(batcher, "first") == "FIRST"


def test_each_gets_its_own_answer() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        gate.let(20)
        words = [f"w{i}" for i in range(8)]
        assert await asyncio.gather(*(ask(batcher, word) for word in words)) == [word.upper() for word in words]

    run(body)


def test_the_most_urgent_goes_first_and_the_late_are_not_computed() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        now_s = monotonic()
        busy = ask(batcher, "busy")
        await asyncio.sleep(0.01)
        late = ask(batcher, "late", deadline_s=now_s + 0.1)
        relaxed, urgent = ask(batcher, "relaxed", deadline_s=now_s + 90), ask(batcher, "urgent", deadline_s=now_s + 60)
        with pytest.raises(DeadlinePassed):
            # It hears so at once, not when its turn would have come.
            await late
        gate.let(3)
        await asyncio.gather(busy, relaxed, urgent)
        assert gate.batches == [["first"], ["busy"], ["urgent"], ["relaxed"]]
        assert batcher.expired == 1
        with pytest.raises(DeadlinePassed):
            await ask(batcher, "before it came", deadline_s=monotonic() - 1)

    run(body)


def test_a_full_queue_turns_away_with_the_time_to_come_back() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        waiting = [ask(batcher, f"{i}") for i in range(40)]
        done, open_ = await asyncio.wait(waiting, timeout=0.3)
        refused = [task.exception() for task in done]
        # Eight requests' compute and the one that is being computed; 10 ms each.
        assert len(open_) == 9
        assert all(isinstance(error, Overloaded) and 0.05 < error.retry_after_s < 1 for error in refused)
        with pytest.raises(Overloaded), batcher.coming():
            pass
        gate.let(20)
        await asyncio.gather(*open_)
        with batcher.coming():
            assert batcher.wait_s > 0
        assert batcher.wait_s == 0

    run(body, BatcherConfig(max_wait_requests=8))


@pytest.mark.slow
def test_the_queue_is_short_while_most_are_turned_away_and_long_again_afterwards() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        async def crowd(count: int) -> tuple[int, list[float]]:
            done, accepted = await asyncio.wait([ask(batcher, f"{i}") for i in range(count)], timeout=0.1)
            gate.let(len(accepted))
            await asyncio.gather(*accepted)
            return len(accepted), [
                error.retry_after_s for task in done if isinstance(error := task.exception(), Overloaded)
            ]

        await measured(batcher, gate)
        # Eight that wait, and the one that is being computed. Who asks again all the time changes nothing.
        assert (await crowd(300))[0] == 9
        assert (await crowd(9))[0] == 9
        until_s = monotonic() + 3
        while monotonic() < until_s:
            accepted, told_s = await crowd(40)
        assert accepted == 3
        assert min(told_s) > 0.3
        await asyncio.sleep(2)
        assert (await crowd(9))[0] == 9

    run(body, BatcherConfig(max_wait_requests=8, max_wait_overloaded=2))


def test_who_held_a_place_while_media_were_decoded_keeps_it() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        with batcher.coming():
            # Meanwhile the queue fills up, and is only a third as long in the overload that follows.
            crowd = [ask(batcher, f"{i}") for i in range(40)]
            await asyncio.sleep(0.01)
        waited = sum(not task.done() for task in crowd)
        batcher.config = BatcherConfig(max_wait_requests=2)
        late = ask(batcher, "late")
        decoded = asyncio.create_task(batcher.submit("decoded", cost={"text": 1}, admitted=True))
        gate.let(waited + 1)
        with pytest.raises(Overloaded):
            await late
        assert (await decoded).value == "DECODED"
        await asyncio.gather(*crowd, return_exceptions=True)

    run(body, BatcherConfig(max_wait_requests=8))


def test_whoever_crowds_the_queue_gives_way() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        crowd = [ask(batcher, f"{i}", "crowd") for i in range(9)]
        await asyncio.sleep(0.01)
        with batcher.coming("lone"):
            pass
        lone = ask(batcher, "lone", "lone")
        await asyncio.sleep(0.01)
        gate.let(20)
        assert await lone == "LONE"
        outcomes = await asyncio.gather(*crowd, return_exceptions=True)
        assert sum(isinstance(outcome, Overloaded) for outcome in outcomes) == 1
        assert isinstance(outcomes[-1], Overloaded)
        assert ["lone"] in gate.batches[:4]

    run(body, BatcherConfig(max_wait_requests=8))


def test_who_hangs_up_leaves_the_queue() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        busy, gone, stays = ask(batcher, "busy"), ask(batcher, "gone"), ask(batcher, "stays")
        await asyncio.sleep(0.01)
        assert len(batcher) == 2
        gone.cancel()
        await asyncio.wait([gone])
        assert len(batcher) == 1
        gate.let(5)
        await asyncio.gather(busy, stays)
        assert ["gone"] not in gate.batches

    run(body)


def test_streams_take_turns_and_leave_room_for_others() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        answered = dict.fromkeys("abcdefghij", 0)
        inside = 0
        most = 0

        async def stream(name: str) -> None:
            nonlocal inside, most
            while True:
                async with batcher.turn(name, monotonic()) as decoded:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    decoded()
                    # Nobody who had a turn is refused, and no two that go on are more than a turn apart.
                    await batcher.submit(name, cost={"text": 1}, client=name, admitted=True)
                    inside -= 1
                answered[name] += 1

        streams = [asyncio.create_task(stream(name)) for name in answered]
        for _ in range(95):
            gate.let()
            before = len(gate.batches)
            while len(gate.batches) == before:
                await asyncio.sleep(0.001)
        assert most == 3
        assert max(answered.values()) - min(answered.values()) <= 1
        assert sum(answered.values()) >= 90
        asked = ask(batcher, "asked", "somebody else")
        gate.let(5)
        assert await asked == "ASKED"
        for each in streams:
            each.cancel()
        ended = await asyncio.gather(*streams, return_exceptions=True)
        assert all(isinstance(each, asyncio.CancelledError) for each in ended)
        # Whoever hung up has given its place back.
        for _ in range(3):
            async with batcher.turn("later", monotonic()):
                pass

    run(body, BatcherConfig(max_wait_requests=8))


@pytest.mark.parametrize(
    ("others", "share"),
    [
        # One that has as many streams as there are places gets as much; one alone waits for its own answers.
        ({"few": 3}, 0.8),
        ({"one": 1}, 0.4),
        # More clients than places.
        (dict.fromkeys("abcdef", 1), 0.8),
    ],
)
def test_a_client_with_many_streams_gets_no_more_turns_than_others(others: Mapping[str, int], share: float) -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        await measured(batcher, gate)
        answered: Counter[str] = Counter()

        async def stream(client: str) -> None:
            while True:
                async with batcher.turn(client, monotonic()) as decoded:
                    await asyncio.sleep(0)
                    decoded()
                    await batcher.submit(client, cost={"text": 1}, client=client, admitted=True)
                answered[client] += 1

        async def compute(batches: int) -> None:
            for _ in range(batches):
                gate.let()
                before = len(gate.batches)
                while len(gate.batches) == before:
                    await asyncio.sleep(0.001)

        held = {"many": 8, **others}
        streams = [asyncio.create_task(stream(client)) for client, count in held.items() for _ in range(count)]
        await compute(100)
        assert min(answered[client] for client in others) >= share * answered["many"], answered
        for each in streams[8:]:
            each.cancel()
        await asyncio.wait(streams[8:])
        await compute(10)
        before = answered["many"]
        await compute(20)
        # Where nobody else waits, it gets all.
        assert answered["many"] - before >= 18
        for each in streams:
            each.cancel()
        await asyncio.wait(streams)
        assert not batcher._held
        assert not batcher._left_s

    run(body, BatcherConfig(max_wait_requests=8))


def test_who_gives_up_waiting_and_comes_again_keeps_the_place_in_the_line() -> None:
    async def body(batcher: Batcher[str, str], _: Gate) -> None:
        order: list[str] = []

        async def turn(name: str, since_s: float) -> None:
            async with batcher.turn("client", since_s):
                order.append(name)

        async with AsyncExitStack() as all_places:
            for _place in range(3):
                await all_places.enter_async_context(batcher.turn("client", 0.0))
            first = asyncio.create_task(turn("gave up", 1.0))
            late = asyncio.create_task(turn("late", 3.0))
            await asyncio.sleep(0)
            first.cancel()
            await asyncio.wait([first])
            others = [asyncio.create_task(turn("between", 2.0)), asyncio.create_task(turn("came again", 1.0))]
            await asyncio.sleep(0)
        await asyncio.gather(late, *others)
        assert order == ["came again", "between", "late"]

    run(body)


def test_streams_that_wait_are_told_when_the_server_stops() -> None:
    async def body(batcher: Batcher[str, str], _: Gate) -> None:
        async with AsyncExitStack() as all_places:
            for _place in range(3):
                await all_places.enter_async_context(batcher.turn("client", 0.0))
            waiting = asyncio.create_task(all_places.enter_async_context(batcher.turn("client", 1.0)))
            await asyncio.sleep(0)
            await batcher.close(0)
            with pytest.raises(Unavailable):
                await waiting

    run(body)


def test_one_bad_request_fails_alone_and_a_broken_model_fails_all() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        gate.let(5)
        bad, good = ask(batcher, "bad"), ask(batcher, "good")
        with pytest.raises(ValueError, match="bad"):
            await bad
        assert await good == "GOOD"

    run(body)

    async def broken() -> None:
        def compute(items: list[str]) -> Computed[str]:
            raise RuntimeError("no memory")

        batcher: Batcher[str, str] = Batcher(compute)
        for _ in range(2):
            with pytest.raises(RuntimeError, match="no memory"):
                await batcher.submit("x", cost={"text": 1})
        await batcher.close(1)

    asyncio.run(broken())


def test_closing_finishes_what_waits_and_takes_nothing_new() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        waiting = [ask(batcher, f"{i}") for i in range(5)]
        await asyncio.sleep(0.01)
        closing = asyncio.get_running_loop().create_task(batcher.close(20))
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):
            await ask(batcher, "new")
        gate.let(10)
        await closing
        assert await asyncio.gather(*waiting) == [f"{i}" for i in range(5)]

    run(body)


def test_closing_without_time_tells_those_who_wait() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> None:
        busy, waiting = ask(batcher, "busy"), ask(batcher, "waiting")
        await asyncio.sleep(0.01)
        await batcher.close(0)
        with pytest.raises(Unavailable):
            await waiting
        gate.let()
        assert await busy == "BUSY"

    run(body)


def test_a_batch_holds_no_more_than_memory_allows() -> None:
    async def whole() -> list[int]:
        sizes: list[int] = []
        gate = Gate()

        def compute(items: list[str]) -> Computed[str]:
            gate(items)
            sizes.append(len(items))
            # A batch costs the same whatever its size, as on a GPU.
            return Computed(items, {"text": 0.01})

        config = BatcherConfig(max_units={"text": 4}, max_wait_requests=1e6)
        batcher: Batcher[str, str] = Batcher(compute, config)
        gate.let(10_000)
        await batcher.submit("x", cost={"text": 1})
        for _ in range(12):
            await asyncio.gather(*(batcher.submit("x", cost={"text": 1}) for _ in range(64)))
        await batcher.close(5)
        return sizes

    sizes = asyncio.run(whole())
    # It finds out that batches pay, and stays with them.
    assert max(sizes) == 4
    assert sizes[-10:].count(4) >= 8


def test_a_batch_takes_no_longer_than_it_may() -> None:
    async def body(batcher: Batcher[str, str], gate: Gate) -> list[int]:
        gate.let(10_000)
        await ask(batcher, "first")
        for _ in range(8):
            await asyncio.gather(*(ask(batcher, f"{i}") for i in range(32)))
        return [len(batch) for batch in gate.batches]

    class Cheaper(Gate):
        """Two at once cost little more than one, so that batches pay."""

        def __call__(self, items: list[str]) -> Computed[str]:
            return Computed(super().__call__(items).results, {"text": 0.1 + 0.01 * len(items)})

    async def whole(longest_s: float) -> list[int]:
        gate = Cheaper()
        batcher: Batcher[str, str] = Batcher(gate, BatcherConfig(max_wait_requests=1e6, max_batch_s=longest_s))
        try:
            return await body(batcher, gate)
        finally:
            await batcher.close(5)

    assert max(asyncio.run(whole(1e3))) >= 8
    assert max(asyncio.run(whole(0.001))) == 1


def test_settings_are_checked() -> None:
    with pytest.raises(ConfigError):
        BatcherConfig(max_batch=0)
    with pytest.raises(ConfigError, match="no longer in an overload"):
        BatcherConfig(max_wait_overloaded=8)
    with pytest.raises(ConfigError):
        BatcherConfig(weights={"a": 0})
