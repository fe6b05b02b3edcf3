"""The thread that bounds exchanges with the cloud: what it runs when it is closed is ended, and nothing is dropped."""

from __future__ import annotations

import asyncio
import gc
import time
from threading import Thread

import anyio
import pytest

from fedaffect.edge.cloud.errors import CloudUnreachable
from fedaffect.edge.cloud.loop_thread import LoopThread


async def nothing() -> None:
    """What is done last."""


def test_a_job_that_closing_finds_ends_the_tasks_that_it_started() -> None:
    """As httpx does when it connects: anyio's group, whose child the closing finds before its first step.

    Cancelled by others than its group, such a child's coroutine is dropped: "never awaited", an error in tests.
    """
    loop_thread = LoopThread("closing")
    closing = Thread(target=lambda: loop_thread.close(nothing()))
    ended = []

    async def child() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("child")

    async def job() -> None:
        closing.start()
        time.sleep(0.2)  # The loop stands still until the closing is the next thing that it does
        await asyncio.sleep(0)
        async with anyio.create_task_group() as group:
            group.start_soon(child)
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("job")

    with pytest.raises(CloudUnreachable, match="was closed"):
        loop_thread.run(job(), 60)
    closing.join()
    gc.collect()
    assert sorted(ended) in (["child", "job"], ["job"])


def test_nothing_runs_after_the_end() -> None:
    loop_thread = LoopThread("ended")
    assert loop_thread.run(asyncio.sleep(0, "done"), 60) == "done"
    loop_thread.close(nothing())
    loop_thread.close(nothing())
    with pytest.raises(CloudUnreachable, match="is closed"):
        loop_thread.run(asyncio.sleep(0), 60)
