"""A fleet's server under many devices over real sockets: gate, SuperLink, service and ServerApp as operators have them.

    python -m benchmarks.fleet_of_thousand --devices 1000 --clients-per-round 100 --rounds 4

Devices are light (`benchmarks.light_devices`), all in one process, each enrolled through the service with a key of its
own. What the server's processes compute, write and hold is read from /proc: in a minute without a run, and from the
first round's end to the last's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import ssl
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.support.constructed_cohort import constructed_cohort
from tests.support.small_fleet import SmallFleet

from benchmarks.light_devices import LightDevice, Told, alive
from benchmarks.processor_time import a_round, kind_of, processor_seconds
from fedaffect.client.device.service import FleetService
from fedaffect.client.protocol.identity import DeviceKey

_RUN = "thousand"
_SERVER = ("gate", "superlink", "serverapp", "service")
_AT_ONCE = 4
# Of one address, which all have: what an operator gives whose devices are behind one gateway.
_LIMITS = {"connections-per-address": 8192, "connections": 8192}
_ENROLMENTS = {"unauthenticated-per-minute": 1_000_000, "all-unauthenticated-per-minute": 1_000_000}


class _Fleet(SmallFleet):
    """With limits for so many devices at one address."""

    def up(self) -> None:
        """Bring the servers up."""
        path = self.path / "fleet.toml"
        lines = path.read_text().splitlines()
        limits = {**_LIMITS, **_ENROLMENTS}
        kept = [line for line in lines if line.partition(" = ")[0] not in limits]
        path.write_text("\n".join([*kept, *(f"{name} = {value}" for name, value in limits.items())]) + "\n")
        super().up()


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=1000, help="enrolled and online")
    parser.add_argument("--clients-per-round", type=int, default=0, help="all of them if not given")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=16, help="of the fusion model: 192 is the default model")
    parser.add_argument("--idle-s", type=float, default=60.0, help="measured before the run begins")
    parser.add_argument("--round-timeout-s", type=float, default=1800.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fleet-of-thousand-") as temporary:
        folder = Path(temporary)
        tokens = {"text": 2, "audio": 2}
        cohort = constructed_cohort(folder / "cohort", clients=given.devices, examples=4, tokens=tokens, width=12)
        with _Fleet(folder / "fleet", cohort) as fleet:
            print(json.dumps(asyncio.run(_measured(fleet, given))))


async def _measured(fleet: SmallFleet, given: argparse.Namespace) -> dict[str, Any]:
    asked = given.clients_per_round or given.devices
    began, before = time.monotonic(), _used(fleet)
    keys = await asyncio.to_thread(_enroll, fleet, given.devices)
    enrolled_s, enrolling = time.monotonic() - began, a_round(before[0], _used(fleet)[0], given.devices)
    told, context = Told(), ssl.create_default_context(cafile=str(fleet.path / "authority" / "ca.pem"))
    address = f"localhost:{fleet.superlink_port}"
    devices = [LightDevice(number, key, address, context, told) for number, key in enumerate(keys)]
    async with alive(devices, told):
        while told.online < given.devices:
            await asyncio.sleep(0.5)
        # Activated in one go, they are told "nothing" once before they wait.
        await asyncio.sleep(15.0)
        before, requests = _used(fleet), Counter(told.requests)
        await asyncio.sleep(given.idle_s)
        idle = a_round(before[0], _used(fleet)[0], 1)
        idle_requests = told.requests - requests
        await asyncio.to_thread(
            fleet.submit,
            _RUN,
            given.rounds,
            model_options={"width": given.width, "heads": 2, "feedforward": 2 * given.width},
            eval_every=given.rounds,
            clients_per_round=asked,
            gather_s=120.0,
            round_timeout_s=given.round_timeout_s,
            keep_checkpoints="last",
        )
        await _until(fleet, 1)
        began, before, requests = time.monotonic(), _used(fleet), Counter(told.requests)
        await _until(fleet, given.rounds)
        took_s, after = time.monotonic() - began, _used(fleet)
        requests = told.requests - requests
        lines = await asyncio.to_thread(fleet.wait, _RUN, 3600.0)
    rounds = given.rounds - 1
    seconds = [line["train_seconds"] for line in lines[1:]]
    return {
        "devices": asked,
        "online": given.devices,
        "rounds": rounds,
        "median_s": round(statistics.median(seconds), 2),
        "slowest_s": round(max(seconds), 2),
        "clients_a_round": [line["clients"] for line in lines],
        "processor_s_a_round": a_round(before[0], after[0], rounds),
        "wall_s_a_round": round(took_s / rounds, 2),
        "requests_a_device": {name: round(n / rounds / asked, 2) for name, n in sorted(requests.items())},
        "writes_a_device": _a_device(before[1], after[1], rounds * asked),
        "bytes_written_a_device": _a_device(before[2], after[2], rounds * asked),
        "peak_mb": _peak_mb(fleet),
        "idle_processor_s_a_minute": {name: round(s * 60 / given.idle_s, 2) for name, s in idle.items()},
        "idle_requests_a_minute": round(idle_requests.total() * 60 / given.idle_s),
        "enrolled_s": round(enrolled_s, 1),
        "processor_s_an_enrolment": enrolling,
        "bytes_up_a_device": lines[-1]["bytes_up"] // max(1, lines[-1]["clients"]),
        "failed": dict(told.failed),
        "load": os.getloadavg()[0],
    }


def _enroll(fleet: SmallFleet, count: int) -> list[Path]:
    """Enrol devices through the service, some at once; where their keys lie."""
    folder = fleet.folder / "keys"
    folder.mkdir(mode=0o700)
    made = fleet.command("fleet", "token", "--fleet", str(fleet.path), "--uses", str(count), "--json").stdout
    (token,) = json.loads(made)["tokens"]

    def one(number: int) -> Path:
        path = folder / f"{number}.key"
        key = DeviceKey.make(path)
        url = f"https://localhost:{fleet.service_port}"
        with FleetService(url, fleet.path / "authority" / "ca.pem", key) as service:
            service.post(
                "/v1/devices",
                {
                    "token": token, "name": f"light-{number}", "public_key": key.public, "consent": True,
                    "modalities": ["text", "audio"], "memory_mb": 1, "cores": 1, "partition": number,
                },
            )  # fmt: skip
        return path

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(one, range(count)))


async def _until(fleet: SmallFleet, rounds: int) -> None:
    """Until the run has so many rounds; it raises where the run is over before."""
    looked = 0
    while len(await asyncio.to_thread(fleet.rounds, _RUN)) < rounds:
        await asyncio.sleep(0.1)
        looked += 1
        if looked % 300 == 0:
            state = await asyncio.to_thread(fleet.run_state, _RUN)
            if state["state"] not in ("open", "finished"):
                raise RuntimeError(f"the run is {state['state']}: {state['reason']}")


def _used(fleet: SmallFleet) -> tuple[Mapping[str, float], Counter[str], Counter[str]]:
    """Up to now, by kind of process: processor seconds, write calls, bytes that went to disk."""
    processes = fleet.processes("")
    writes, written = Counter[str](), Counter[str]()
    for pid in processes:
        with suppress(OSError):
            said = dict(line.split(": ") for line in Path(f"/proc/{pid}/io").read_text().splitlines())
            writes[kind_of(pid)] += int(said["syscw"])
            written[kind_of(pid)] += int(said["write_bytes"])
    seconds = dict(processor_seconds(processes))
    times = os.times()
    seconds["light devices"] = times.user + times.system
    return seconds, writes, written


def _a_device(before: Counter[str], after: Counter[str], devices: int) -> dict[str, float]:
    return {kind: round((after[kind] - before[kind]) / devices, 1) for kind in _SERVER}


def _peak_mb(fleet: SmallFleet) -> dict[str, int]:
    """The most memory that processes of each kind have held."""
    found = Counter[str]()
    for pid in fleet.processes(""):
        with suppress(OSError, StopIteration):
            line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
            found[kind_of(pid)] = max(found[kind_of(pid)], int(line.split()[1]) // 1024)
    return {kind: found[kind] for kind in _SERVER if kind in found}


if __name__ == "__main__":
    main()
