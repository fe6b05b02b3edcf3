"""How far one fleet's server carries, what saturates first, and what comes after it.

    python -m benchmarks.capacity measure          # parts that one process can measure: sums, registry, masks
    python -m benchmarks.capacity sums             # predicted and measured sums, at three sizes
    python -m benchmarks.capacity fit LINES        # what each process computes, from lines of benchmarks.fleet_round
    python -m benchmarks.capacity check LINES      # predictions beside further such lines
    python -m benchmarks.capacity plan --devices 10000 --round-minutes 10

``LINES`` is a file of what `benchmarks.fleet_round` printed, at two numbers of devices and two widths at least to fit.
Constants lie in ``benchmarks/capacity.json``; `measure` and `fit` write them. docs/capacity.md explains the model.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

CONSTANTS: Final = Path(__file__).with_suffix(".json")
# Processes of a fleet's server, each of which computes on one core: Python holds its interpreter.
PARTS: Final = ("gate", "superlink", "serverapp", "service")
_REPEATS: Final = 7
# What a core may be busy with before its queue grows faster than it empties.
_FULL: Final = 0.7
# Of a secure sum: keys, shares, masked update, unmasking.
_STAGES: Final = 4


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of one process a round: ``fixed + devices * (device + mb * MB of an update)``."""

    fixed: float
    device: float
    mb: float

    def of(self, devices: float, update_mb: float) -> float:
        """Processor seconds of a round."""
        return self.fixed + devices * (self.device + self.mb * update_mb)


@dataclass(frozen=True, slots=True)
class Constants:
    """What was measured.

    Parameters
    ----------
    parts : mapping of str to Cost
        By process.
    sum_s_mb : float
        To read, check and add one MB of float32 parameters.
    registry_s : float
        Of one transaction that takes an update, on SQLite here, and the bytes that its rows take.
    registry_bytes : float
    mask_s_mb : float
        To make one neighbour's mask for one MB of float32 parameters.
    wire : float
        Bytes on the wire for each byte of float32 parameters, one way.
    """

    parts: Mapping[str, Cost] = field(default_factory=dict)
    sum_s_mb: float = 0.0
    registry_s: float = 0.0
    registry_bytes: float = 0.0
    mask_s_mb: float = 0.0
    wire: float = 1.0

    @classmethod
    def read(cls) -> Constants:
        """From the file beside this one."""
        given = json.loads(CONSTANTS.read_text()) if CONSTANTS.exists() else {}
        return cls(**{**given, "parts": {name: Cost(**cost) for name, cost in given.get("parts", {}).items()}})

    def write(self) -> None:
        """To that file."""
        CONSTANTS.write_text(json.dumps(_rounded(asdict(self)), indent=2) + "\n")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return float(f"{value:.4g}")


def _seconds(act: Callable[[], object]) -> float:
    """Processor seconds of an act, the median of several."""
    found = []
    for _ in range(_REPEATS):
        start_s = time.process_time()
        act()
        found.append(time.process_time() - start_s)
    return statistics.median(found)


def measured_sum_s(updates: int) -> tuple[float, float]:
    """Seconds that a round's loop takes for so many replies of 0.8 M parameters, and the MB that they hold."""
    import torch
    from flwr.app import Message, MetricRecord, RecordDict
    from flwr.supercore.task_identity import TaskIdentity
    from torch import nn

    from fedaffect.client.layout import ArrayLayout
    from fedaffect.client.wire import ARRAYS, METRICS, to_record
    from fedaffect.server.federation.aggregation import RoundReplies
    from fedaffect.server.federation.robustness.reply_validation import UpdateValidator

    # Flower's own programs set it.
    TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
    layout = ArrayLayout.of(nn.Sequential(*(nn.Linear(200, 200) for _ in range(20))))
    flat = torch.randn(layout.size)
    names = [f"device-{number}" for number in range(updates)]
    replies = RoundReplies(UpdateValidator(layout), True, names, 1)
    taken_s = 0.0
    for number in range(updates):
        content = RecordDict({METRICS: MetricRecord({"num-examples": 32, "train_loss": 1.0})})
        content[ARRAYS] = to_record(layout, flat)
        asked = Message(RecordDict(), dst_node_id=number + 1, message_type="train")
        reply = Message(content, reply_to=asked)
        start_s = time.process_time()
        replies.take(reply, number)
        taken_s += time.process_time() - start_s
    if replies.clients != updates:
        raise click.ClickException(f"{updates - replies.clients} updates were not taken: {replies.failures[:1]}")
    return taken_s, updates * layout.size * 4 / 1e6


def measured_sum_s_mb() -> float:
    """Validating an update and adding it to the sum, a MB."""
    found = [seconds / mb for seconds, mb in (measured_sum_s(40) for _ in range(_REPEATS))]
    return statistics.median(found)


def measured_mask_s_mb() -> float:
    """One neighbour's mask over a MB of 32-bit words."""
    from fedaffect.client.secagg.masks import add_masks

    vector = np.zeros(1_000_000, np.uint32)
    return _seconds(lambda: add_masks(vector, [(bytes(32), 1)] * 4)) / 4 / 4


def measured_registry(devices: int = 300) -> tuple[float, float]:
    """Seconds and bytes of taking one device's update, each in a transaction of its own, on SQLite."""
    from fedaffect.server.registry import Registry, leases, participations, rounds, runs
    from fedaffect.server.registry.participations import Outcome, Slot

    base = "a" * 64
    with tempfile.TemporaryDirectory() as folder, Registry.open(f"sqlite:///{folder}/registry.db") as registry:
        names = [f"device-{number}" for number in range(devices)]
        runs.create(registry, run_id="run", config={"rounds": 1})
        lease = leases.acquire(registry, "run", "here")
        before = _size(Path(folder))
        opened = rounds.open_round(registry, lease, 1, selected=names, base_sha256=base)
        participations.ask(registry, lease, 1, opened.attempt, names)
        start_s = time.process_time()
        for name in names:
            outcome = Outcome(state="answered", base_sha256=base, seconds=1.0, bytes_up=1, bytes_down=1)
            participations.record_outcome(registry, lease, Slot("run", 1, opened.attempt, name), outcome)
        taken_s = time.process_time() - start_s
        registry.scrub("participations")
        return taken_s / devices, (_size(Path(folder)) - before) / devices


def _size(folder: Path) -> int:
    """Of the database itself; its log is emptied into it now and then."""
    return (folder / "registry.db").stat().st_size


def read_lines(path: Path) -> list[dict[str, Any]]:
    """What `benchmarks.fleet_round` printed, a JSON object a line."""
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]


def _update_mb(line: Mapping[str, Any]) -> float:
    return float(line["bytes_up_a_device"]) / 1e6


def fitted(lines: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """Cost of each process, least squares over measured rounds; none below zero."""
    rows = np.array([[1.0, line["devices"], line["devices"] * _update_mb(line)] for line in lines])
    if np.linalg.matrix_rank(rows) < rows.shape[1]:
        raise click.ClickException("too few lines; give two numbers of devices, and two widths at one of them")
    costs = {}
    for part in PARTS:
        found = np.array([line["processor_s_a_round"].get(part, 0.0) for line in lines])
        costs[part] = Cost(*_above_zero(rows, found))
    return costs


def _above_zero(rows: Any, found: Any) -> list[float]:
    """Least squares with coefficients of zero at least: those that would be below are left out, the worst first."""
    kept = list(range(rows.shape[1]))
    while kept:
        solved = np.linalg.lstsq(rows[:, kept], found, rcond=None)[0]
        if solved.min() >= 0:
            out = np.zeros(rows.shape[1])
            out[kept] = solved
            return [float(value) for value in out]
        kept.pop(int(solved.argmin()))
    return [0.0] * rows.shape[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A fleet and how often it learns.

    Parameters
    ----------
    devices : int
        A round.
    update_mb : float
        Float32 parameters of an update.
    round_s : float
        From one round to the next.
    regions : int
        Regional aggregators, each with gate, SuperLink and service of its own, that pass one sum up.
    neighbours : int
        Of each device in a secure sum; 0 without.
    """

    devices: int
    update_mb: float
    round_s: float
    regions: int = 1
    neighbours: int = 0


def loads(constants: Constants, shape: Shape) -> dict[str, float]:
    """Cores that each part of one region is busy with, and Gbit/s of its network and of its objects on disk."""
    devices = shape.devices / shape.regions
    mb = shape.update_mb
    # A secure sum takes a message for each of its stages; its words travel in one of them.
    stages = _STAGES if shape.neighbours else 1
    busy = {
        part: (cost.of(devices, mb) + (stages - 1) * devices * cost.device) / shape.round_s
        for part, cost in constants.parts.items()
    }
    if shape.neighbours:
        # The server makes each device's own mask again, on one core beside the rest.
        busy["serverapp"] += devices * mb * constants.mask_s_mb / shape.round_s
    if shape.regions > 1:
        # What the centre does: one update a region.
        busy["centre"] = constants.parts["serverapp"].of(shape.regions, mb) / shape.round_s
    return busy


def traffic(constants: Constants, shape: Shape) -> dict[str, float]:
    """Bytes a round: up and down of one device, through one region, rows of the registry; transactions a second."""
    wire = constants.wire * shape.update_mb * 1e6
    devices = shape.devices / shape.regions
    return {
        "device_up": wire,
        "device_down": wire,
        "region": 2 * wire * devices,
        "registry": constants.registry_bytes * shape.devices,
        "writes_s": devices / shape.round_s,
    }


@click.group(help=__doc__)
def main() -> None:
    """See the module's text."""


@main.command()
def measure() -> None:
    """What one process measures alone; a minute."""
    seconds, size = measured_registry()
    found = {
        "sum_s_mb": measured_sum_s_mb(),
        "mask_s_mb": measured_mask_s_mb(),
        "registry_s": seconds,
        "registry_bytes": size,
    }
    Constants(**{**_fields(Constants.read()), **found}).write()
    click.echo(json.dumps(_rounded(found)))


def _fields(constants: Constants) -> dict[str, Any]:
    return {name: getattr(constants, name) for name in Constants.__dataclass_fields__}


@main.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def fit(path: Path) -> None:
    """Cost of each process, from measured rounds."""
    costs = fitted(read_lines(path))
    Constants(**{**_fields(Constants.read()), "parts": costs}).write()
    click.echo(json.dumps({name: _rounded(asdict(cost)) for name, cost in costs.items()}))


@main.command()
@click.option("--updates", multiple=True, type=int, default=(10, 40, 160), show_default=True)
def sums(updates: tuple[int, ...]) -> None:
    """Predicted beside measured seconds of summing a round's updates, which is what a regional aggregator adds."""
    constants = Constants.read()
    click.echo(f"{'updates':>7s} {'predicted':>9s} {'measured':>8s} {'off':>6s}")
    for count in updates:
        measured, mb = measured_sum_s(count)
        predicted = mb * constants.sum_s_mb
        click.echo(f"{count:7d} {predicted:9.3f} {measured:8.3f} {predicted / measured - 1:+6.0%}")


@main.command()
@click.argument("path", type=click.Path(exists=True, dir_okay=False, path_type=Path))
def check(path: Path) -> None:
    """Predicted beside measured processor seconds of a round."""
    constants = Constants.read()
    click.echo(f"{'devices':>7s} {'MB':>5s} {'part':10s} {'predicted':>9s} {'measured':>8s} {'off':>6s}")
    for line in read_lines(path):
        mb = _update_mb(line)
        both = {part: (cost.of(line["devices"], mb), _measured(line, part)) for part, cost in constants.parts.items()}
        both["all"] = (sum(one for one, _ in both.values()), sum(other for _, other in both.values()))
        for part, (predicted, measured) in both.items():
            off = predicted / measured - 1 if measured else 0.0
            click.echo(f"{line['devices']:7d} {mb:5.2f} {part:10s} {predicted:9.3f} {measured:8.3f} {off:+6.0%}")


def _measured(line: Mapping[str, Any], part: str) -> float:
    return float(line["processor_s_a_round"].get(part, 0.0))


@main.command()
@click.option("--devices", default=1_000, show_default=True, help="Devices that answer in a round.")
@click.option("--update-mb", default=2.6, show_default=True, help="Float32 parameters: 2.6 is the default model.")
@click.option("--round-minutes", default=10.0, show_default=True, help="From one round to the next.")
@click.option("--regions", default=1, show_default=True, help="Regional aggregators.")
@click.option("--neighbours", default=0, show_default=True, help="Of each device in a secure sum; 0 without.")
@click.option("--link-gbit", default=1.0, show_default=True, help="Of one server's network.")
@click.option("--core-hour", default=0.04, show_default=True, help="Price of a core for an hour, any currency.")
@click.option("--egress-gb", default=0.05, show_default=True, help="Price of a GB that leaves the data centre.")
def plan(
    devices: int,
    update_mb: float,
    round_minutes: float,
    regions: int,
    neighbours: int,
    link_gbit: float,
    core_hour: float,
    egress_gb: float,
) -> None:
    """Say what is how busy, what saturates first, and what a month costs at prices that you give."""
    constants = Constants.read()
    shape = Shape(
        devices=devices,
        update_mb=update_mb,
        round_s=60 * round_minutes,
        regions=regions,
        neighbours=neighbours,
    )
    for line in report(constants, shape, link_gbit, core_hour, egress_gb):
        click.echo(line)


def report(constants: Constants, shape: Shape, link_gbit: float, core_hour: float, egress_gb: float) -> list[str]:
    """The lines of `plan`."""
    busy, bytes_of = loads(constants, shape), traffic(constants, shape)
    link = bytes_of["region"] * 8 / 1e9 / shape.round_s / link_gbit
    shares = {**{f"{part} (of its one core)": share for part, share in busy.items()}, "network": link}
    # A transaction of SQLite after the other, on a core of its own.
    shares["registry, one writer"] = bytes_of["writes_s"] * constants.registry_s
    first = max(shares, key=shares.__getitem__)
    lines = [f"{shape.devices} devices a round of {shape.round_s / 60:g} min, {shape.update_mb:g} MB an update"]
    lines += [f"  {name:28s} {share:7.1%}" for name, share in sorted(shares.items(), key=lambda each: -each[1])]
    carries = int(shape.devices * _FULL / shares[first])
    lines.append(f"first to saturate: {first}; at {_FULL:.0%} this shape carries {carries} devices a round")
    if shares[first] > _FULL:
        regions = int(np.ceil(shape.regions * shares[first] / _FULL))
        lines.append(f"more than it carries: take --regions {regions}, or rounds {shares[first] / _FULL:.1f} x as long")
    cores = sum(busy.values()) * shape.regions
    month_rounds = 30 * 24 * 3600 / shape.round_s
    gb = bytes_of["device_down"] * shape.devices * month_rounds / 1e9
    price = cores * 30 * 24 * core_hour + gb * egress_gb
    lines.append(f"a month: {cores:.2f} cores busy, {gb:,.0f} GB down to devices; {price:,.0f} at the prices given")
    lines.append(f"the registry grows by {bytes_of['registry'] / 1e6:.2f} MB a round until it is pruned")
    return lines


if __name__ == "__main__":
    main()
