"""What two-level aggregation costs root and region, beside flat aggregation: 10,000 clients a round of 100,000.

    python -m benchmarks.regions               # what the aggregators compute
    python -m benchmarks.regions --trained     # whole rounds of a simulation, with clients that learn

Constructed clients: each answers a train request with one of 64 updates made beforehand, as the bytes that would come
over a socket; making those is not counted. A region is a process of its own and passes its sum up over a socket of this
machine, with a key and without TLS. All else is what a run uses: selection, messages, reading, validation, fixed-point
sum, mean. Flat and regional rounds are two processes of their own, so that each has its own peak of memory; the means
are compared bit for bit. With ``--trained`` the clients are a simulation's, over Ray actors, with a small model, and
memory is that of all processes (PSS).
"""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import resource
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Client, Connection, Listener, wait
from pathlib import Path
from typing import Any, cast

import click
import numpy as np
import torch
from flwr.app import ConfigRecord, Error, Message, MessageType, MetricRecord, RecordDict
from torch import Tensor

from benchmarks.many_clients import PeakShare
from benchmarks.simulation_engines import ROOT
from benchmarks.workload import Workload
from fedaffect.client.flower_compat.names import SUPERLINK_NODE_ID, ErrorCode, act_as
from fedaffect.client.flower_compat.records import record_from_bytes, record_to_bytes
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.wire import ARRAYS, CONFIG, METRICS, to_record
from fedaffect.edge.errors import FedAffectError
from fedaffect.server.federation.aggregation import RoundReplies, to_vector
from fedaffect.server.federation.grid import GridCapabilities, Nodes
from fedaffect.server.federation.participants import CohortClients
from fedaffect.server.federation.privacy.mechanism import NoPrivacy
from fedaffect.server.federation.regions.aggregator import RegionalAggregator
from fedaffect.server.federation.regions.collection import RegionalCollection
from fedaffect.server.federation.regions.order import Order, Regions
from fedaffect.server.federation.robustness.reply_validation import UpdateValidator
from fedaffect.server.federation.steps import PlainCollection

_MARK = "figures: "
_UPDATES = 64
_TIMEOUT_S = 3600.0


@dataclass
class LightClients:
    """A grid whose clients answer at once, with bytes made beforehand; node n + 1 is client n."""

    updates: Sequence[bytes]
    capabilities: GridCapabilities = field(default_factory=GridCapabilities)

    def get_node_ids(self) -> Iterable[int]:
        """Whoever is asked is there."""
        return ()

    def partition_ids(self, clients: int) -> Mapping[int, int]:
        """Partition id by node id."""
        return {client + 1: client for client in range(clients)}

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Every client's answer, read from bytes as from a socket."""
        for message in messages:
            client = message.metadata.dst_node_id - 1
            yield Message(record_from_bytes(self.updates[client % len(self.updates)]), reply_to=message)

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        """Not used by rounds."""
        raise NotImplementedError

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """Not used by rounds."""
        raise NotImplementedError


@dataclass
class SocketRegions:
    """Reaches regions over one socket each; node n + 1 is region n."""

    sockets: Sequence[Connection[Any, Any]]
    up: int = 0
    down: int = 0

    def node_of(self, region: int) -> int:
        """The node of a region."""
        return region + 1

    def stream(self, messages: Iterable[Message], *, timeout: float | None = None) -> Iterator[Message]:
        """Sums as they come."""
        asked: dict[Any, Message] = {}
        for message in messages:
            order = record_to_bytes(message.content)
            socket = self.sockets[message.metadata.dst_node_id - 1]
            socket.send_bytes(order)
            self.down += len(order)
            asked[socket] = message
        while asked:
            for ready in wait(list(asked), timeout):
                socket = cast("Connection[Any, Any]", ready)
                answer = socket.recv_bytes()
                self.up += len(answer)
                found = record_from_bytes(answer)
                error = found.config_records.get("error")
                reply = found if error is None else Error(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, str(error["why"]))
                yield Message(reply, reply_to=asked.pop(socket))


def _layout(parameters: int) -> ArrayLayout:
    adapter = parameters // 8
    names = ("adapters.text.weight", "adapters.audio.weight", "adapters.video.weight", "trunk.weight")
    return ArrayLayout(names, ((adapter,), (adapter,), (adapter,), (parameters - 3 * adapter,)))


def _start(layout: ArrayLayout) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=layout.size).astype(np.float32) * np.float32(0.1))


def _light_clients(layout: ArrayLayout) -> LightClients:
    start, made = _start(layout), []
    for number in range(_UPDATES):
        rng = np.random.default_rng(number + 1)
        update = start + torch.from_numpy(rng.normal(size=layout.size).astype(np.float32)) * 0.01
        counts = {"num-examples": number + 8, **{f"num-examples.{m}": number + 1 for m in ("text", "audio", "video")}}
        metrics = MetricRecord({**counts, "train_loss": float(rng.random())})
        made.append(record_to_bytes(RecordDict({ARRAYS: to_record(layout, update), METRICS: metrics})))
    return LightClients(made)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _region(address: str, key: bytes, parameters: int, registered: int, members: range) -> None:
    """A region's process: answers orders until the root hangs up, then says what they cost."""
    act_as(1, SUPERLINK_NODE_ID, 1)
    torch.set_num_threads(1)
    grid = _light_clients(_layout(parameters))
    aggregator = RegionalAggregator(grid, Nodes(_node_ids(registered), grid.partition_ids(registered)), members)
    with Client(address, authkey=key) as socket:
        socket.send_bytes(b"%d" % members.start)
        idle_mb, seconds = _peak_mb(), []
        while order := socket.recv_bytes():
            began = time.process_time()
            try:
                answer = aggregator.answer(record_from_bytes(order))
            except FedAffectError as error:
                answer = RecordDict({"error": ConfigRecord({"why": str(error)})})
            socket.send_bytes(record_to_bytes(answer))
            seconds.append(time.process_time() - began)
        figures = {"seconds": seconds, "peak_mb": _peak_mb(), "idle_mb": idle_mb}
        socket.send_bytes(json.dumps(figures).encode())


def _node_ids(registered: int) -> Mapping[int, int]:
    return {client: client + 1 for client in range(registered)}


def measure(registered: int, a_round: int, rounds: int, parameters: int, count: int) -> dict[str, Any]:
    """Figures of rounds without regions (``count`` 0) or with so many."""
    act_as(1, SUPERLINK_NODE_ID, 1)
    torch.set_num_threads(1)
    layout = _layout(parameters)
    light = _light_clients(layout)
    nodes = Nodes(_node_ids(registered), light.partition_ids(registered))
    chosen = CohortClients(registered, a_round, 1.0, 0, _TIMEOUT_S)
    sockets, processes = _open_regions(registered, parameters, count) if count else ([], [])
    up_grid = SocketRegions(sockets)
    template = Order(round=0, clients=(), asked=0, timeout_s=_TIMEOUT_S)
    collection: PlainCollection | RegionalCollection
    if count:
        collection = RegionalCollection(up_grid, nodes, Regions(registered, count), layout, template, NoPrivacy())
    else:
        collection = PlainCollection(light, nodes, _TIMEOUT_S)
    idle_mb, walls, processor = _peak_mb(), [], []
    weights = _start(layout)
    for number in range(1, rounds + 1):
        wall, own = time.perf_counter(), time.process_time()
        content = RecordDict({ARRAYS: to_record(layout, weights), CONFIG: ConfigRecord({"server-round": number})})
        messages = [Message(content, node, MessageType.TRAIN) for node in nodes.of(chosen.choose(number, ()).clients)]
        received = RoundReplies(UpdateValidator(layout, weights), True, (), number)
        received.asked = len(messages)
        collection.collect(number, messages, weights, received)
        if received.clients != a_round:
            raise click.ClickException(f"{received.clients} of {a_round} clients counted: {received.failures[:1]}")
        weights = to_vector(layout, received.for_strategy(weights)[0].content.array_records[ARRAYS])
        walls.append(time.perf_counter() - wall)
        processor.append(time.process_time() - own)
    each = len(light.updates[0])
    figures = {
        "wall_s": walls,
        "root_s": processor,
        "root_mb": _peak_mb() - idle_mb,
        "up_mb": (up_grid.up / rounds if count else a_round * each) / 1e6,
        "down_mb": (up_grid.down / rounds if count else a_round * len(record_to_bytes(content))) / 1e6,
        "digest": hashlib.sha256(weights.numpy().tobytes()).hexdigest(),
    }
    return figures | _close_regions(sockets, processes)


def measure_trained(registered: int, a_round: int, rounds: int, count: int) -> dict[str, Any]:
    """Figures of rounds in which simulated clients learn; the first, in which actors start, is not counted."""
    from fedaffect.server.federation.run_folder import RunFolder
    from fedaffect.simulation.engines import run

    small = {"width": 32, "heads": 2, "feedforward": 64}
    workload = Workload(clients=registered, clients_a_round=a_round, examples=8, width=32, model_options=small)
    memory = PeakShare()
    memory.start()
    with tempfile.TemporaryDirectory() as folder:
        cohort = workload.write_cohort(Path(folder) / "cohort", rows=min(64_000, registered * 8))
        config = workload.run_config(rounds + 1, len(os.sched_getaffinity(0)), Path(folder))
        run_folder = RunFolder.create(config.changed(regions=count or None))
        run(run_folder.config, cohort, run_folder)
        walls = [line["train_seconds"] for line in run_folder.metrics()[1:]]
        arrays = run_folder.checkpoints.load(rounds + 1).arrays
    digest = hashlib.sha256(b"".join(arrays[name].tobytes() for name in sorted(arrays))).hexdigest()
    return {"wall_s": walls, "all_processes_mb": memory.stop(), "digest": digest}


def _open_regions(registered: int, parameters: int, count: int) -> tuple[list[Connection[Any, Any]], list[Any]]:
    regions, context, key = (
        Regions(registered, count),
        multiprocessing.get_context("forkserver"),
        secrets.token_bytes(32),
    )
    # torch is imported once, and not by every region.
    context.set_forkserver_preload(["fedaffect.server.federation.regions.aggregator"])
    by_start: dict[int, Connection[Any, Any]] = {}
    with Listener(("127.0.0.1", 0), authkey=key) as listener:
        processes = [
            context.Process(target=_region, args=(listener.address, key, parameters, registered, regions.members(n)))
            for n in range(count)
        ]
        for process in processes:
            process.start()
        for _ in processes:
            socket = listener.accept()
            by_start[int(socket.recv_bytes())] = socket
    return [by_start[start] for start in sorted(by_start)], processes


def _close_regions(sockets: Sequence[Connection[Any, Any]], processes: Sequence[Any]) -> dict[str, Any]:
    said = []
    for socket in sockets:
        socket.send_bytes(b"")
        said.append(json.loads(socket.recv_bytes()))
        socket.close()
    for process in processes:
        process.join()
    if not said:
        return {}
    seconds = [one for region in said for one in region["seconds"]]
    return {"region_s": seconds, "region_mb": max(region["peak_mb"] - region["idle_mb"] for region in said)}


@click.command(help=__doc__)
@click.option("--registered", default=100_000, help="Clients that exist.")
@click.option("--clients-per-round", "a_round", default=10_000)
@click.option("--regions", default=10)
@click.option("--rounds", default=2)
@click.option("--parameters", default=25_000, help="Float32 values of an update.")
@click.option("--trained", is_flag=True, help="Clients learn.")
@click.option("--only", type=int, hidden=True)
def main(
    registered: int, a_round: int, regions: int, rounds: int, parameters: int, trained: bool, only: int | None
) -> None:
    """See the module's text."""
    if only is not None and trained:
        click.echo(_MARK + json.dumps(measure_trained(registered, a_round, rounds, only)))
        return
    if only is not None:
        click.echo(_MARK + json.dumps(measure(registered, a_round, rounds, parameters, only)))
        return
    command = [sys.executable, "-m", "benchmarks.regions", "--registered", registered, "--clients-per-round", a_round]
    command += ["--rounds", rounds, "--parameters", parameters]
    command += [*(["--trained"] if trained else []), "--only"]
    found = {}
    for count in (0, regions):
        words = [str(word) for word in (*command, count)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
        if not lines:
            raise click.ClickException(f"{count or 'no'} regions gave no figures:\n{done.stderr[-2000:]}")
        found[count] = json.loads(lines[0].removeprefix(_MARK))
        click.echo(f"{count or 'no'} regions: {_shown(found[count])}")
    same = found[0]["digest"] == found[regions]["digest"]
    click.echo(f"means after {rounds} rounds: {'equal, bit for bit' if same else 'NOT EQUAL'}")
    if not same:
        raise SystemExit(1)


def _shown(figures: Mapping[str, Any]) -> str:
    spread = {name: figures[name] for name in ("wall_s", "root_s", "region_s") if name in figures}
    shown = [f"{name} {statistics.median(v):.3f} ({min(v):.3f} - {max(v):.3f})" for name, v in spread.items()]
    totals = ("up_mb", "down_mb", "root_mb", "region_mb", "all_processes_mb")
    return ", ".join(shown + [f"{name} {figures[name]:.2f}" for name in totals if name in figures])


if __name__ == "__main__":
    main()
