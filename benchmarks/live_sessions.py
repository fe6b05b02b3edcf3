"""How many live sessions a server answers at once: each sends a voice, and a new picture when the last was answered.

``python -m benchmarks.live_sessions --sessions 1 4 16 --precision int8``. Load and server are on the same machine, the
load at a higher priority only where the system allows it.
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


async def session(
    url: str, number: int, shown: list[bytes], until_s: float, lags_ms: list[float], refused: list[str]
) -> None:
    """One person at a camera; a caller of an own address, since one caller may have only a few streams."""
    sound = (np.clip(spoken().samples, -1, 1) * 32767).astype("<i2").tobytes()
    step = int(2 * 16_000 * _PIECE_S)
    address = f"ws{url[4:]}/v1/stream"
    own = (f"127.0.{1 + number // 200}.{1 + number % 200}", 0)
    async with connect(address, open_timeout=60, local_addr=own) as socket:
        await socket.send(json.dumps({"live": True, "hop_s": 1 / _PICTURES_PER_S}))
        answered = asyncio.Event()
        answered.set()

        async def listen() -> None:
            async for message in socket:
                told = json.loads(message)
                if "error" in told:
                    refused.append(told["error"]["message"])
                    return
                if "picture_time_s" in told:
                    lags_ms.append(1000 * (time.monotonic() - told["picture_time_s"]))
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


async def offered(url: str, count: int, seconds: float) -> tuple[list[float], list[str]]:
    """Lags in milliseconds of so many sessions, and what the server refused."""
    lags_ms: list[float] = []
    refused: list[str] = []
    shown, until_s = pictures(), time.monotonic() + seconds
    await asyncio.gather(
        *(session(url, number, shown, until_s, lags_ms, refused) for number in range(count)), return_exceptions=True
    )
    return lags_ms, refused


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
        asyncio.run(offered(url, 1, 5))
        print("| sessions | load | answers /s, each | all | lag p50 | lag p95 | refused | processor | server |")
        print("|---|---|---|---|---|---|---|---|---|")
        for count in asked.sessions:
            before_s = _processor_s(pid)
            lags_ms, refused = asyncio.run(offered(url, count, asked.seconds))
            cores = (_processor_s(pid) - before_s) / asked.seconds
            p50, p95 = np.quantile(lags_ms, [0.5, 0.95]) if lags_ms else (float("nan"), float("nan"))
            rate = len(lags_ms) / asked.seconds
            print(
                f"| {count} | {os.getloadavg()[0]:.1f} | {rate / count:.1f} | {rate:.1f} | {p50:.0f} ms "
                f"| {p95:.0f} ms | {len(refused)} | {cores:.2f} cores | {resident_mb(pid):.0f} MB |",
                flush=True,
            )


def _processor_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
