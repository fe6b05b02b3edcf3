"""Fleet and cloud under mixed good, bad and hostile traffic, for half an hour: what grows, falls over or gets lost.

    python -m benchmarks.soak --minutes 30

A cloud (the packaged model, a process of its own, over real sockets) answers good requests, refuses bad ones and is
attacked; beside it a fleet of three devices learns round after round while others knock at its service and its gate.
All samples are constructed. One JSON line says: how the memory of each server and of the run's own process went (median
of the second quarter of the time, and of the last), answers by kind of traffic and status, 5xx that the description
does not name, refusals that callers saw and the server did not count, rounds, and rounds that were lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import socket
import ssl
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import psutil
from tests.support.constructed_cohort import constructed_cohort
from tests.support.media_files import huge_png, picture, silence, tone, video
from tests.support.server_process import ServerProcess
from tests.support.small_fleet import SmallFleet
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

_RUN: Final = "soak"
_DEVICES: Final = 3
_SMALL: Final = {"width": 16, "heads": 2, "feedforward": 32}
_DOCUMENTED: Final = frozenset((503, 504))
_LOOK_S: Final = 5.0
_SDP: Final = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 5004 RTP/AVP 0\r\n"
_PLAYLISTS: Final = (
    b"ffconcat version 1.0\nfile /etc/passwd\n",
    b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
    _SDP,
)
Traffic = Callable[[], None]


class Cloud:
    """The server of a process of its own, and what callers get from it."""

    def __init__(self, folder: Path) -> None:
        self.server = ServerProcess(folder, "default")
        self.url = self.server.rest_url
        self.client = httpx.Client(base_url=self.url, timeout=120)
        self.seen: Counter[str] = Counter()
        self.refused = 0
        self._lock = threading.Lock()

    def ask(self, kind: str, path: str = "/v1/predict", **request: Any) -> None:
        """One request; its status counts."""
        reply = self.client.post(path, **request)
        refused = reply.status_code >= 400 and "error" in reply.json()
        with self._lock:
            self.seen[f"{kind} {reply.status_code}"] += 1
            self.refused += refused

    def counted_refusals(self) -> int:
        """Refusals by the server's own count."""
        lines = self.client.get("/metrics").text.splitlines()
        return round(sum(float(line.split()[-1]) for line in lines if line.startswith("fedaffect_refusals_total{")))

    def stop(self) -> int:
        """End it; its status."""
        self.client.close()
        self.server.process.send_signal(signal.SIGTERM)
        status = self.server.process.wait(60)
        self.server.close()
        return status


def cloud_traffic(cloud: Cloud) -> list[Traffic]:
    """What callers do, each a function that does it once."""
    seeds = random.Random(0)
    film, voice = video(frames=15), tone(2.0)

    def good() -> None:
        files = {"audio": ("a", voice), "video": ("v", seeds.choice((film, picture(seed=seeds.randrange(99)))))}
        cloud.ask("good", files=files, data={"text": "I could not be happier"})
        cloud.ask("good", json={"text": f"number {seeds.randrange(10**6)} makes me sad"})

    def bad() -> None:
        cut = voice[: seeds.randrange(len(voice))]
        for files in ({"audio": ("a", cut)}, {"video": ("v", seeds.randbytes(3_000))}, {"image": ("v", picture())}):
            cloud.ask("bad", files=files)
        cloud.ask("bad", files={"audio": ("a", silence())})
        cloud.ask("bad", json={"text": 5})
        cloud.ask("bad", content=seeds.randbytes(200), headers={"content-type": "application/json"})
        cloud.ask("bad", path="/v1/feedback", json={"label": "bliss"})

    def hostile() -> None:
        for content in (*_PLAYLISTS, huge_png()):
            cloud.ask("hostile", files={seeds.choice(("audio", "video")): ("x", content)})
        cloud.ask("hostile", json={"text": "x"}, headers={"Origin": "https://pages.example"})

    def stream() -> None:
        with suppress(WebSocketException, OSError), connect(cloud.url.replace("http", "ws") + "/v1/stream") as socket_:
            socket_.send(json.dumps({"sample_rate_hz": 16000, "window_s": 1, "hop_s": 1}))
            for _ in range(5):
                socket_.send(b"\0" + seeds.randbytes(seeds.choice((1, 3_200, 40_000))))
            socket_.send(seeds.choice((b"\x07nonsense", "{", json.dumps({"end": True}))))
            for _ in socket_:
                cloud.seen["stream messages"] += 1

    return [good, bad, hostile, stream]


def idle(port: int, host: str = "127.0.0.1", *, tls: bool = False) -> Traffic:
    """Connections that say nothing, or a head without an end, and stay until they are closed on."""

    def once() -> None:
        held = []
        with suppress(OSError), ExitStack() as stack:
            for number in range(20):
                connection = stack.enter_context(socket.create_connection((host, port), timeout=5))
                if tls and number % 2:
                    context = ssl.create_default_context()
                    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
                    connection = stack.enter_context(context.wrap_socket(connection))
                if number % 3 == 0:
                    connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nX: ")
                held.append(connection)
            time.sleep(20)

    return once


def fleet_traffic(fleet: SmallFleet, seen: Counter[str]) -> list[Traffic]:
    """Who knocks at a fleet's service and at its gate without being let in."""
    client = httpx.Client(verify=str(fleet.path / "authority" / "ca.pem"), timeout=30)
    seeds = random.Random(1)

    def knock() -> None:
        for port in (fleet.service_port, fleet.superlink_port):
            for path in ("/v1/device", "/v1/enrol", "/", "/v1/status", "/flwr.proto.Fleet/PullMessages"):
                headers = seeds.choice(({}, {"flwr-public-key": "x"}, {"x-device": "nobody", "x-time": "nan"}))
                try:
                    reply = client.post(
                        f"https://localhost:{port}{path}", content=seeds.randbytes(300), headers=headers
                    )
                except httpx.HTTPError as error:
                    seen[type(error).__name__] += 1
                else:
                    seen[str(reply.status_code)] += 1
        time.sleep(1)

    return [knock, idle(fleet.service_port, tls=True), idle(fleet.superlink_port, tls=True)]


@contextmanager
def going(kinds: list[Traffic], failures: Counter[str]) -> Iterator[None]:
    """Each kind of traffic in a thread, again and again, as long as a ``with`` lasts."""
    over = threading.Event()

    def repeat(once: Traffic) -> None:
        while not over.is_set():
            try:
                once()
            except Exception as error:  # noqa: BLE001 what callers meet is what is measured
                failures[f"{once.__name__}: {type(error).__name__}"] += 1
                time.sleep(1)
            over.wait(0.1)

    threads = [threading.Thread(target=repeat, args=(kind,), daemon=True) for kind in kinds]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)


def memory_mb(pids: list[int]) -> float:
    """What processes hold of memory together, without what they share; MB."""
    held = 0
    for pid in pids:
        with suppress(psutil.Error):
            held += psutil.Process(pid).memory_full_info().uss
    return held / 1e6


def main() -> None:
    """Soak, and print one JSON line; exit with 1 where something was lost, failed or grew."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as name:
        said, sound = _soak(Path(name), given.minutes * 60)
    print(json.dumps(said))
    sys.exit(0 if sound else 1)


def _soak(folder: Path, seconds: float) -> tuple[dict[str, Any], bool]:
    cohort = constructed_cohort(folder / "cohort", clients=_DEVICES, examples=16)
    knocked: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    programs = {
        "service": "fleet.api.serve",
        "superlink": "superlink.program",
        "gate": "superlink.gate",
        "run": "flwr-serverapp",
    }
    held: dict[str, list[float]] = {name: [] for name in ("cloud", *programs)}
    with SmallFleet(folder / "fleet", cohort) as fleet:
        cloud = Cloud(folder)
        for number in range(_DEVICES):
            fleet.enroll(f"device{number}", number)
            fleet.start(f"device{number}")
        fleet.online(_DEVICES)
        fleet.submit(_RUN, 100_000, clients_per_round=_DEVICES, model_options=_SMALL, dataset="synthetic")
        port = int(cloud.url.rsplit(":", 1)[1])
        kinds = [*cloud_traffic(cloud), idle(port), *fleet_traffic(fleet, knocked)]
        with going(kinds, failures):
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                time.sleep(_LOOK_S)
                held["cloud"].append(memory_mb([cloud.server.process.pid]))
                for program, pattern in programs.items():
                    held[program].append(memory_mb(fleet.processes(pattern)))
        counted, rounds = cloud.counted_refusals(), [line["round"] for line in fleet.rounds(_RUN)]
        status = cloud.stop()
    memory = {program: _went(looks) for program, looks in held.items()}
    foreseen = {str(code) for code in _DOCUMENTED}
    unforeseen = {kind: n for kind, n in cloud.seen.items() if kind[-3] == "5" and kind[-3:] not in foreseen}
    lost = sorted(set(range(1, max(rounds, default=0) + 1)) - set(rounds))
    said = {
        "minutes": seconds / 60,
        "memory_mb": memory,
        "cloud": dict(sorted(cloud.seen.items())),
        "knocked": dict(sorted(knocked.items())),
        "unforeseen_5xx": unforeseen,
        "refusals_seen": cloud.refused,
        "refusals_counted": counted,
        "rounds": len(rounds),
        "rounds_lost": lost,
        "cloud_exit": status,
        "callers_errors": dict(failures),
        "load": round(os.getloadavg()[0], 1),
    }
    grew = [program for program, went in memory.items() if went["last"] > 1.1 * went["early"] + 10]
    return said | {"grew": grew}, not (unforeseen or lost or grew or status or not rounds or counted < cloud.refused)


def _went(looks: list[float]) -> dict[str, float]:
    quarter = max(1, len(looks) // 4)
    return {
        "early": round(median(looks[quarter : 2 * quarter] or looks), 1),
        "last": round(median(looks[-quarter:]), 1),
    }


if __name__ == "__main__":
    main()
