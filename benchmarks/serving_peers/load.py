"""Load over real sockets: closed loop for capacity, open loop (Poisson) for latency."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from benchmarks.serving_peers.questions import Asked

_HEADERS = {"content-type": "application/json"}


@dataclass(slots=True)
class Measured:
    """What came of a load.

    Parameters
    ----------
    seconds : float
        It lasted.
    latencies_ms : list of float
        Of requests that were answered, from when they were due.
    statuses : Counter of int
        0 for connections that broke.
    finished_s : list of float
        When each answer came, from the beginning.
    late_ms : list of float
        How late each answered request was sent: the load's own fault, not the server's.
    """

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    finished_s: list[float] = field(default_factory=list)
    late_ms: list[float] = field(default_factory=list)

    @property
    def throughput(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds if self.seconds else 0.0

    def served_ms(self, q: float) -> float:
        """Percentile from when requests were sent."""
        own = [total - late for total, late in zip(self.latencies_ms, self.late_ms, strict=True)]
        return float(np.percentile(own, q)) if own else float("nan")

    def percentile_ms(self, q: float) -> float:
        """Of the answered; not a number where there are none."""
        return float(np.percentile(self.latencies_ms, q)) if self.latencies_ms else float("nan")


async def _ask(
    client: aiohttp.ClientSession, url: str, asked: Asked, due_s: float, start_s: float, out: Measured
) -> float:
    """Ask once; gives after how many seconds the server wants to be asked again, 0 where it does not say."""
    sent_s = time.perf_counter()
    try:
        async with client.post(url, data=asked.body, headers=_HEADERS) as reply:
            await reply.read()
    except (aiohttp.ClientError, TimeoutError):
        out.statuses[0] += 1
        return 0.0
    now_s = time.perf_counter()
    out.statuses[reply.status] += 1
    if reply.status == 200:
        out.latencies_ms.append((now_s - due_s) * 1000)
        out.late_ms.append((sent_s - due_s) * 1000)
        out.finished_s.append(now_s - start_s)
    return float(reply.headers.get("retry-after", 0))


def _client() -> aiohttp.ClientSession:
    # Its parser is C: a load that takes the server's processor measures itself.
    return aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(600), connector=aiohttp.TCPConnector(limit=0))


async def closed_loop(url: str, asked: list[Asked], in_flight: int, seconds: float) -> Measured:
    """So many callers, each asking again once answered, or when the server that turned it away said."""
    out = Measured()
    async with _client() as client:
        start_s = time.perf_counter()

        async def caller(number: int) -> None:
            while time.perf_counter() - start_s < seconds:
                again_s = await _ask(client, url, asked[number % len(asked)], time.perf_counter(), start_s, out)
                await asyncio.sleep(again_s)
                number += in_flight

        await asyncio.gather(*(caller(number) for number in range(in_flight)))
        out.seconds = time.perf_counter() - start_s
    return out


async def open_loop(url: str, asked: list[Asked], rate: float, seconds: float, seed: int = 0) -> Measured:
    """Callers who come when they come, whether or not others have been answered."""
    rng = np.random.default_rng(seed)
    gaps = rng.exponential(1 / rate, size=max(1, int(rate * seconds * 2) + 16))
    due = [at for at in np.cumsum(gaps) if at < seconds]
    out = Measured()
    async with _client() as client:
        start_s = time.perf_counter()
        tasks = []
        for number, at in enumerate(due):
            await asyncio.sleep(max(0.0, start_s + at - time.perf_counter()))
            tasks.append(asyncio.create_task(_ask(client, url, asked[number % len(asked)], start_s + at, start_s, out)))
        await asyncio.gather(*tasks)
        out.seconds = max(seconds, time.perf_counter() - start_s)
    return out
