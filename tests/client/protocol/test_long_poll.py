from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from starlette.types import Message, Receive, Scope, Send

from fedaffect.client.protocol.long_poll import LongPoll, LongPolling
from fedaffect.client.protocol.notifier import Notifier
from fedaffect.edge.errors import ConfigError

PULL, PUSH = "/pull", "/push"
_LONG_S = 60.0


class _Queue:
    """An app that gives out what was put into it, one at a time, and nothing where there is none."""

    def __init__(self) -> None:
        self.there: list[bytes] = []
        self.asked: list[tuple[str, bytes]] = []
        self.status = 200

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.asked.append((scope["path"], body))
        if scope["path"] == PUSH:
            self.there.append(body)
        answer = self.there.pop(0) if scope["path"] == PULL and self.there else b""
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": answer})


class _Client:
    def __init__(self, app: Callable[[Scope, Receive, Send], Awaitable[None]], name: str = "a") -> None:
        self._app = app
        self._name = name
        self.hung_up = asyncio.Event()

    async def ask(self, path: str, body: bytes = b"q") -> bytes | None:
        """The answer; None where there was none."""
        answers: list[Message] = []
        request = [{"type": "http.request", "body": body[:1], "more_body": True}]
        request.append({"type": "http.request", "body": body[1:], "more_body": False})

        async def receive() -> Message:
            if request:
                return request.pop(0)
            await self.hung_up.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            answers.append(message)

        scope = {"type": "http", "path": path, "headers": [(b"who", self._name.encode())]}
        await self._app(scope, receive, send)
        return answers[-1]["body"] if answers else None


def _long_polling(longest_s: float = _LONG_S, waits: int = 1) -> tuple[_Queue, Notifier, LongPolling]:
    queue, notifier = _Queue(), Notifier()
    polls = {PULL: LongPoll(notifier, longest_s, "who", waits)}
    return queue, notifier, LongPolling(queue, polls, {PUSH: lambda *_: notifier.notify()})


async def _pending(task: asyncio.Task[bytes | None]) -> bool:
    for _ in range(20):
        await asyncio.sleep(0)
    return not task.done()


def test_who_was_told_nothing_and_asks_again_is_answered_when_something_came() -> None:
    async def act() -> None:
        queue, _, app = _long_polling()
        client = _Client(app)
        assert await client.ask(PULL) == b""
        again = asyncio.create_task(client.ask(PULL))
        assert await _pending(again)
        assert len(queue.asked) == 1
        await client.ask(PUSH, b"message")
        assert await again == b"message"
        # It was given something, so that more may be there: not held.
        assert await client.ask(PULL) == b""

    asyncio.run(act())


def test_what_came_between_two_questions_is_not_waited_for() -> None:
    async def act() -> None:
        _, _, app = _long_polling()
        client = _Client(app)
        await client.ask(PULL)
        await client.ask(PUSH, b"message")
        assert await client.ask(PULL) == b"message"

    asyncio.run(act())


def test_the_app_is_asked_after_some_waits_without_anything_and_at_once_when_something_came() -> None:
    async def act() -> None:
        queue, _, app = _long_polling(0.01, waits=3)
        client = _Client(app)
        for _ in range(7):
            assert await client.ask(PULL) == b""
        # The first question, and then one wait of three.
        assert len(queue.asked) == 3
        await client.ask(PUSH, b"message")
        assert await client.ask(PULL) == b"message"
        assert await client.ask(PULL) == b""

    asyncio.run(act())


def test_another_asker_another_question_and_a_refusal_are_not_held() -> None:
    async def act() -> None:
        queue, _, app = _long_polling()
        await _Client(app).ask(PULL)
        assert await _Client(app, "b").ask(PULL) == b""
        assert await _Client(app).ask(PULL, b"other") == b""
        queue.status = 401
        for _ in range(2):
            assert await _Client(app, "c").ask(PULL) == b""

    asyncio.run(act())


def test_nobody_is_held_for_longer_than_was_said() -> None:
    async def act() -> None:
        queue, _, app = _long_polling(longest_s=0.01)
        client = _Client(app)
        assert [await client.ask(PULL) for _ in range(3)] == [b""] * 3
        assert queue.asked == [(PULL, b"q")] * 3

    asyncio.run(act())


def test_who_hung_up_is_given_no_message() -> None:
    async def act() -> None:
        queue, _, app = _long_polling()
        client = _Client(app)
        await client.ask(PULL)
        held = asyncio.create_task(client.ask(PULL))
        assert await _pending(held)
        client.hung_up.set()
        assert await held is None
        await _Client(app).ask(PUSH, b"message")
        # Nor who hung up in the moment in which it came.
        assert await client.ask(PULL) is None
        assert queue.there == [b"message"]

    asyncio.run(act())


def test_other_threads_wake_those_who_wait_and_a_server_that_ends_waits_for_nobody() -> None:
    async def act() -> None:
        queue, notifier, app = _long_polling()
        client = _Client(app)
        await client.ask(PULL)
        held = asyncio.create_task(client.ask(PULL))
        assert await _pending(held)
        queue.there.append(b"message")
        thread = threading.Thread(target=notifier.notify)
        thread.start()
        assert await held == b"message"
        thread.join()
        await client.ask(PULL)
        held = asyncio.create_task(client.ask(PULL))
        assert await _pending(held)
        notifier.close()
        assert await held == b""
        assert await client.ask(PULL) == b""
        assert await client.ask(PULL) == b""

    asyncio.run(act())


def test_only_those_whom_it_is_for_are_woken_and_who_has_no_number_by_everything() -> None:
    async def act() -> None:
        queue, notifier = _Queue(), Notifier()
        numbered = LongPoll(notifier, _LONG_S, "who", 2, lambda body: int(body) or None)
        app = LongPolling(queue, {PULL: numbered})
        client = _Client(app)
        for body in (b"1", b"2", b"0"):
            await client.ask(PULL, body)
        one, two, anybody = (asyncio.create_task(client.ask(PULL, body)) for body in (b"1", b"2", b"0"))
        assert await _pending(one)
        queue.asked.clear()
        notifier.notify({1, 7})
        assert [await one, await anybody] == [b"", b""]
        assert await _pending(two)
        assert queue.asked == [(PULL, b"1"), (PULL, b"0")]
        # It came between two questions: not waited for. To all: not for 7 alone.
        notifier.notify({1})
        assert await client.ask(PULL, b"1") == b""
        notifier.notify()
        assert await two == b""
        assert (notifier.count(), notifier.count(1), notifier.count(2), notifier.count(7)) == (3, 3, 1, 2)

    asyncio.run(act())


def test_a_time_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="longest_s"):
        LongPoll(Notifier(), 0.0)
