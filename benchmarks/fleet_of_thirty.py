"""A fleet of thirty devices that come and go, a tenth of them slow and a tenth cut off again and again.

    python -m benchmarks.fleet_of_thirty --devices 30 --minutes 60

Devices are processes of their own (SuperNode, trainer and what keeps both alive) over real sockets with TLS. They come
in by one enrolment key with approval. A tenth reaches the fleet through a proxy that resets each connection after some
ten kilobytes and lets nobody through for seconds after that; a tenth gets a quarter of its time. Of the others one is
stopped every ``--churn-s`` seconds, as if its power went, and comes back later. When the time is over the run is
cancelled, and every attempt at a round but the open one must have committed.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from threading import Event, Thread
from typing import Any

from tests.support.constructed_cohort import constructed_cohort
from tests.support.cutting_proxy import Link, cutting
from tests.support.slowed import slowed
from tests.support.small_fleet import SmallFleet

from fedaffect.client.device.enrolling import Capabilities, enroll
from fedaffect.client.device.folder import DeviceFolder
from fedaffect.client.device.permission import LearningRules
from fedaffect.server.fleet.setup.folder import FleetFolder
from fedaffect.server.registry import Registry, audit, participations, rounds

_RUN, _GROUP = "thirty", "thirty"
_SMALL = {"width": 16, "heads": 2, "feedforward": 32}
_BAD = Link(cut_after=(5_000, 40_000), away_s=3.0)
_TIMES_SLOWER = 4.0
_AWAY_S = 20.0


def main() -> None:
    """Bring the fleet up, let it learn, and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=30)
    parser.add_argument("--minutes", type=float, default=60.0, help="of learning, once all devices are online")
    parser.add_argument("--round-timeout-s", type=float, default=40.0)
    parser.add_argument("--churn-s", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fedaffect-thirty-") as scratch:
        os.environ["FEDAFFECT_CONFIG"] = str(Path(scratch) / "config")
        print(json.dumps(_measured(Path(scratch), asked)))


def _measured(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    tokens = {"text": 2, "audio": 2}
    cohort = constructed_cohort(folder / "cohort", clients=asked.devices, examples=(8, 12), tokens=tokens, width=12)
    tenth = max(1, asked.devices // 10)
    names = [f"d{number}" for number in range(asked.devices)]
    cut, slow, others = names[:tenth], names[tenth : 2 * tenth], names[2 * tenth :]
    with ExitStack() as stack:
        fleet = stack.enter_context(SmallFleet(folder / "fleet", cohort))
        proxies = stack.enter_context(cutting(_BAD, fleet.superlink_port, fleet.service_port))
        bad, _BAD.cut_after = _BAD.cut_after, None
        _enroll(fleet, names, set(cut), [proxy.port for proxy in proxies])
        began = time.monotonic()
        for name in names:
            fleet.start(name)
        fleet.wait_for(
            lambda: sum(device["online"] for device in fleet.status()["devices"]) == asked.devices, "devices", 1800.0
        )
        up_s = time.monotonic() - began
        fleet.submit(
            _RUN, 100_000, model_options=_SMALL, lr=0.05, clients_per_round=asked.devices, min_devices=2,
            gather_s=5.0, round_timeout_s=asked.round_timeout_s, group=_GROUP,
        )  # fmt: skip
        _BAD.cut_after = bad
        stack.enter_context(slowed(lambda: [pid for name in slow for pid in _own(fleet, name)], _TIMES_SLOWER))
        stops = stack.enter_context(_churn(fleet, others, asked.churn_s, random.Random(asked.seed)))
        time.sleep(60 * asked.minutes)
        fleet.command("fleet", "cancel", _RUN, "--fleet", str(fleet.path))
        return {
            "devices": asked.devices, "minutes": asked.minutes, "up_s": round(up_s, 1), **_told(fleet, cut, slow),
            "connections_cut": sum(proxy.cuts for proxy in proxies), "devices_stopped": len(stops),
        }  # fmt: skip


def _enroll(fleet: SmallFleet, names: list[str], cut: set[str], ports: list[int]) -> None:
    """All by one key; those that are to be cut off through the proxies."""
    key = json.loads(
        fleet.command(
            *("fleet", "token", "--fleet", str(fleet.path), "--uses", str(len(names)), "--approval"),
            *("--group", _GROUP, "--json"),
        ).stdout
    )["tokens"][0]
    for number, name in enumerate(names):
        superlink, service = ports if name in cut else (fleet.superlink_port, fleet.service_port)
        device = DeviceFolder(fleet.folder / name)
        enroll(
            device, server=f"https://localhost:{service}", token=key,
            authority=fleet.path / "authority" / "ca.pem", name=name, consent=True,
            capabilities=Capabilities.here(("text", "audio")), rules=LearningRules(), partition=number,
        )  # fmt: skip
        device.change(superlink=f"localhost:{superlink}")
        # The service takes so many enrolments of one address a minute.
        time.sleep(1.1)
    fleet.command("fleet", "devices", "approve", "--all", "--fleet", str(fleet.path))


def _own(fleet: SmallFleet, name: str) -> list[int]:
    return fleet.processes(str(fleet.folder / name) + " ") + fleet.processes(f"--device {fleet.folder / name}")


@contextmanager
def _churn(fleet: SmallFleet, names: list[str], every_s: float, draw: random.Random) -> Iterator[list[str]]:
    """Devices lose their power and get it back, one every so often; who it was."""
    over, stopped = Event(), list[str]()

    def come_and_go() -> None:
        back: dict[str, float] = {}
        while not over.wait(1.0):
            for name in [name for name, due in back.items() if time.monotonic() > due]:
                del back[name]
                fleet.again(name)
            if time.monotonic() > due_next[0] and (there := [name for name in names if name not in back]):
                name = draw.choice(there)
                fleet.crash(name)
                back[name] = time.monotonic() + _AWAY_S
                stopped.append(name)
                due_next[0] = time.monotonic() + every_s
        for name in back:
            fleet.again(name)

    due_next = [time.monotonic() + every_s]
    thread = Thread(target=come_and_go)
    thread.start()
    try:
        yield stopped
    finally:
        over.set()
        thread.join()


def _told(fleet: SmallFleet, cut: list[str], slow: list[str]) -> dict[str, Any]:
    """What the registry says of rounds and devices."""
    with Registry.open(FleetFolder.open(fleet.path).settings.registry) as registry:
        audit.verify(registry)
        names = {device["id"]: device["name"] for device in fleet.status()["devices"]}
        attempts = rounds.of_run(registry, _RUN)
        committed = [r for r in attempts if r.state == "committed"]
        outcomes: dict[str, Counter[str]] = {kind: Counter() for kind in ("cut", "slow", "others")}
        counted = []
        for r in committed:
            found = participations.of_round(registry, _RUN, r.round, r.attempt)
            counted.append(sum(one.state == "answered" for one in found))
            for one in found:
                name = names[one.slot.device_id]
                outcomes["cut" if name in cut else "slow" if name in slow else "others"][one.state] += 1
        ends = [r.finished.timestamp() for r in committed if r.finished is not None]
        seconds = [after - before for before, after in pairwise(ends)]
        return {
            "rounds_committed": len(committed),
            "attempts_that_did_not": [f"{r.round}/{r.attempt} {r.reason}" for r in attempts[:-1] if r not in committed],
            "updates_a_round": round(fmean(counted), 1) if counted else 0.0,
            "fewest_updates": min(counted, default=0),
            "round_s": {"median": round(median(seconds), 1), "longest": round(max(seconds), 1)} if seconds else {},
            "outcomes": {kind: dict(found) for kind, found in outcomes.items()},
        }


if __name__ == "__main__":
    main()
