"""Whether a film's last minute is analysed as quickly as its first, and what the server's memory does meanwhile.

    python -m benchmarks.films --minutes 30

The film is constructed: pictures of moving stripes and noise. The engine answers at once, so that what is measured is
everything but the model: decoding, windows, bookkeeping. Processor time counts, this process's and its decoder's, so
that other work on the machine does not.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import av
import numpy as np

from fedaffect.server.serving.engines.engine import Answer, ModelInfo, Request
from fedaffect.server.serving.engines.following import Follower, WholeWindows
from fedaffect.server.serving.films.limits import FilmSettings
from fedaffect.server.serving.films.shelf import Films
from fedaffect.server.serving.gateway.gateway import Gateway

_LABELS = ("joy", "neutral")
_WIDTH, _HEIGHT, _FPS, _SOUND_HZ = 320, 240, 10, 16_000
_PIECE_BYTES = 1 << 20


class AtOnce:
    """An engine that answers at once, and notes the processor time when it is asked about a new window."""

    def __init__(self) -> None:
        self.spent_s: list[float] = []
        self.memory_mb: list[float] = []

    async def predict(self, request: Request) -> Answer:
        sample = request.sample
        if sample is not None and len(sample.modalities) > 1:
            self.spent_s.append(processor_s())
            self.memory_mb.append(memory_mb())
        modalities = sample.modalities if sample is not None else ()
        shares = {"joy": 0.6, "neutral": 0.4}
        return Answer(label="joy", probabilities=shares, confidence=0.6, modalities=modalities, model_version="at-once")

    def follow(self, client: str, window_s: float) -> Follower:
        return WholeWindows(self, client, window_s)

    def check_room(self, client: str) -> None:
        pass

    def models(self) -> tuple[ModelInfo, ...]:
        return (
            ModelInfo(
                version="at-once",
                profile="none",
                label_set="two",
                labels=_LABELS,
                modalities=("audio", "video"),
                share=1,
            ),
        )

    def ready(self) -> bool:
        return True

    async def close(self, drain_s: float) -> None:
        pass


def everybody() -> list[Path]:
    """All processes: this one and those that it started."""
    children = Path("/proc/self/task").glob("*/children")
    pids = [pid for each in children for pid in each.read_text().split()]
    return [Path("/proc/self"), *(Path("/proc", pid) for pid in pids)]


def processor_s() -> float:
    """Processor time of all of them."""
    ticks = 0
    for each in everybody():
        fields = (each / "stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory_mb() -> float:
    """What they have in memory that nobody else has."""
    pages = 0
    for each in everybody():
        resident, shared = map(int, (each / "statm").read_text().split()[1:3])
        pages += resident - shared
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def write_film(path: Path, minutes: float) -> None:
    """A constructed film."""
    draw = np.random.default_rng(0)
    stripes = np.arange(_WIDTH) * 4
    with av.open(str(path), "w", format="mp4") as container:
        shown: Any = container.add_stream("mpeg4", rate=_FPS)
        shown.width, shown.height, shown.pix_fmt = _WIDTH, _HEIGHT, "yuv420p"
        heard: Any = container.add_stream("aac", rate=_SOUND_HZ, layout="mono")
        for second in range(round(60 * minutes)):
            for place in range(_FPS):
                row = ((stripes + 12 * place + 5 * second) % 256).astype(np.uint8)
                image = np.broadcast_to(row[None, :, None], (_HEIGHT, _WIDTH, 3))
                for packet in shown.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")):
                    container.mux(packet)
            noise = draw.normal(scale=0.1, size=(1, _SOUND_HZ)).astype(np.float32)
            block = av.AudioFrame.from_ndarray(np.clip(noise, -1, 1), format="fltp", layout="mono")
            block.sample_rate, block.pts = _SOUND_HZ, second * _SOUND_HZ
            for packet in heard.encode(block):
                container.mux(packet)
        for stream in (shown, heard):
            for packet in stream.encode():
                container.mux(packet)


async def analysed(path: Path, settings: FilmSettings) -> AtOnce:
    """Send the film and wait for its last window."""
    engine = AtOnce()
    gateway = Gateway(engine)
    films = Films(gateway)
    data = path.read_bytes()
    film = films.create("benchmark", len(data), settings)

    async def pieces() -> Any:
        for at in range(0, len(data), _PIECE_BYTES):
            yield data[at : at + _PIECE_BYTES]

    await films.append(film, 0, pieces())
    while film.state not in ("done", "failed"):
        await asyncio.sleep(0.2)
    if film.error is not None:
        raise film.error
    await films.close()
    gateway.close()
    return engine


def minutes_of(values: list[float], per_minute: int) -> Iterator[list[float]]:
    """Values of windows, minute by minute of the film."""
    for at in range(0, len(values) - per_minute + 1, per_minute):
        yield values[at : at + per_minute + 1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    settings = FilmSettings()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        write_film(path, given.minutes)
        print(f"{given.minutes:g} minutes, {path.stat().st_size / 1e6:.1f} MB")
        engine = asyncio.run(analysed(path, settings))
    per_minute = round(60 / settings.hop_s)
    spent = [each[-1] - each[0] for each in minutes_of(engine.spent_s, per_minute)]
    memory = [median(each) for each in minutes_of(engine.memory_mb, per_minute)]
    last = engine.spent_s[-1] - engine.spent_s[-1 - per_minute]
    print(f"{len(engine.spent_s)} windows")
    print("processor s a minute: " + " ".join(f"{each:.2f}" for each in spent))
    print("memory MB: " + " ".join(f"{each:.0f}" for each in memory))
    print(f"first minute {spent[0]:.2f} s, last {last:.2f} s ({last / spent[0]:.2f} x), median {median(spent):.2f} s")


if __name__ == "__main__":
    main()
