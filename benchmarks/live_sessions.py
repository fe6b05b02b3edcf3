"""How many live sessions a server answers at once: each sends a voice, and a new picture when the last was answered.

``python -m benchmarks.live_sessions --sessions 1 4 16 --precision int8``. Load and server are on the same machine, the
load at a higher priority only where the system allows it, and what the load itself took of the processor is counted
beside what the server with its decoders took: on a machine that others use too, answers a second tell of those as
well, and seconds of the processor an answer do not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image
from tests.support.server_process import serving
from websockets.asyncio.client import connect

from benchmarks.live_page import resident_mb
from fedaffect.edge.runtime.probes import drawn_face, spoken

_PICTURES_PER_S = 5.0
_PIECE_S = 0.1


def pictures() -> list[bytes]:
    """A drawn face in ten places, as JPEG of 480 x 360."""
    made = []
    for place in range(10):
        out = BytesIO()
        Image.fromarray(drawn_face(at=(120, 180 + 8 * place))).resize((480, 360)).save(out, "JPEG", quality=80)
        made.append(out.getvalue())
    return made


@dataclass
class Heard:
    """What came back to one session."""

    lags_ms: list[float] = field(default_factory=list)
    left_out: int = 0
    refused: str = ""


async def session(
    url: str, number: int, shown: list[bytes], sound: bytes, begun: asyncio.Barrier, seconds: float, heard: Heard
) -> None:
    """One person at a camera; a caller of an own address, since one caller may have only a few streams."""
    step = int(2 * 16_000 * _PIECE_S)
    address = f"ws{url[4:]}/v1/stream"
    own = (f"127.0.{1 + number // 200}.{1 + number % 200}", 0)
    async with connect(address, open_timeout=60, local_addr=own, compression=None) as socket:
        await socket.send(json.dumps({"live": True, "hop_s": 1 / _PICTURES_PER_S}))
        # Two hundred handshakes at once are no part of what is measured.
        await begun.wait()
        until_s = time.monotonic() + seconds
        answered = asyncio.Event()
        answered.set()

        async def listen() -> None:
            async for message in socket:
                told = json.loads(message)
                if "error" in told:
                    heard.refused = told["error"]["message"]
                    return
                heard.left_out += told.get("left_out", 0)
                if "picture_time_s" in told:
                    heard.lags_ms.append(1000 * (time.monotonic() - told["picture_time_s"]))
                    answered.set()

        async def speak() -> None:
            at = 0
            while time.monotonic() < until_s:
                await socket.send(b"\0" + sound[at : at + step])
                at = (at + step) % (len(sound) - step)
                await asyncio.sleep(_PIECE_S)

        tasks = [asyncio.create_task(listen()), asyncio.create_task(speak())]
        place = 0
        while time.monotonic() < until_s and not tasks[0].done():
            answered.clear()
            sent_s = time.monotonic()
            await socket.send(b"\2" + struct.pack("<d", sent_s) + shown[place % len(shown)])
            place += 1
            with suppress(TimeoutError):
                await asyncio.wait_for(answered.wait(), 3.0)
            await asyncio.sleep(max(0.0, sent_s + 1 / _PICTURES_PER_S - time.monotonic()))
        for task in tasks:
            task.cancel()


async def offered(url: str, pid: int, count: int, seconds: float) -> tuple[list[Heard], float, float]:
    """What so many sessions at once were told, and seconds of the processor: the server's, the load's own."""
    heard = [Heard() for _ in range(count)]
    shown, begun = pictures(), asyncio.Barrier(count + 1)
    sound = (np.clip(spoken().samples, -1, 1) * 32767).astype("<i2").tobytes()
    async with asyncio.TaskGroup() as sessions:
        for number, each in enumerate(heard):
            sessions.create_task(session(url, number, shown, sound, begun, seconds, each))
        await begun.wait()
        before_s, own_s = _processor_s(pid), time.process_time()
    return heard, _processor_s(pid) - before_s, time.process_time() - own_s


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--seconds", type=float, default=12)
    parser.add_argument("--precision", default="int8")
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="fedaffect-") as name,
        serving(Path(name), "default", "--precision", asked.precision) as server,
    ):
        url, pid = server.rest_url, server.process.pid
        asyncio.run(offered(url, pid, 1, 5))
        print(
            "| sessions | load | answers /s, each (fewest to most) | all | lag p50 | lag p95 | left out /s | refused "
            "| server | an answer | the load | memory |"
        )
        print("|---|---|---|---|---|---|---|---|---|---|---|---|")
        for count in asked.sessions:
            heard, took_s, own_s = asyncio.run(offered(url, pid, count, asked.seconds))
            lags_ms = [lag for each in heard for lag in each.lags_ms]
            p50, p95 = np.quantile(lags_ms, [0.5, 0.95]) if lags_ms else (float("nan"), float("nan"))
            each_s = sorted(len(each.lags_ms) / asked.seconds for each in heard)
            print(
                f"| {count} | {os.getloadavg()[0]:.1f} "
                f"| {np.mean(each_s):.2f} ({each_s[0]:.2f} to {each_s[-1]:.2f}) | {sum(each_s):.1f} "
                f"| {p50:.0f} ms | {p95:.0f} ms | {sum(each.left_out for each in heard) / asked.seconds:.1f} "
                f"| {sum(bool(each.refused) for each in heard)} | {took_s / asked.seconds:.2f} cores "
                f"| {1000 * took_s / max(1, len(lags_ms)):.0f} ms | {own_s / asked.seconds:.2f} cores "
                f"| {resident_mb(pid):.0f} MB |",
                flush=True,
            )


def _processor_s(pid: int) -> float:
    """Of a process and those that it started."""
    total = 0
    for each in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = each.read_text().rpartition(")")[2].split()
            if pid in (int(each.parent.name), int(fields[1])):
                total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
