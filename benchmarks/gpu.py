"""What a GPU gives: training whole cohorts, and the full model against what the device can multiply.

    benchmarks/gpu.sh                      all of it within ten minutes, into gpu.md and gpu.json
    python -m benchmarks.gpu --tiny        whether it runs, on a processor; no figures

Each part begins only while there is time for it, and says so where it was left out. Networks of full size with random
weights (BERT-base, wav2vec2-base, ViT-B/16), the constructed sample of three seconds that latencies are measured on
everywhere here. The ceiling is the largest square product in that precision, measured in the same run; operations are
counted by torch, products and convolutions only, from the eager network.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cohort_training import PRIVACIES, compare
from benchmarks.workload import Workload
from fedaffect.client.task import ClientTask
from fedaffect.client.train_config import TrainConfig
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.runtime.probes import probe_sample
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.model import FullModel

TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Plan:
    """How much of it.

    Parameters
    ----------
    device : str
    profile : str
        Of the full model.
    precisions : tuple of str
    batches : tuple of int
        Samples side by side.
    repeats, warming : int
        Turns that count, and turns before them (compilation, capture of graphs, caches).
    side : int
        Of the square matrices whose product is the ceiling.
    clients : int
        That train in a cohort benchmark.
    tokens : tuple of int
        Of a training sample.
    """

    device: str
    profile: str = "cloud"
    precisions: tuple[str, ...] = ("fp32", "bf16")
    batches: tuple[int, ...] = (1, 8, 32, 64)
    repeats: int = 20
    warming: int = 2
    side: int = 8192
    clients: int = 256
    tokens: tuple[int, ...] = (3, 50)


TINY = Plan("cpu", "cloud-embedded", ("fp32",), (1, 2), 1, 0, 256, 2, (3,))


@dataclass(frozen=True)
class Line:
    """One row of the table.

    Parameters
    ----------
    part, what : str
    median, least, most : float
        Of `unit`.
    unit : str
    share : float, optional
        Of the measured ceiling of that precision.
    """

    part: str
    what: str
    median: float
    least: float
    most: float
    unit: str
    share: float | None = None


class Clock:
    """Time that is left, and what was left out for want of it.

    Parameters
    ----------
    budget_s : float
    """

    def __init__(self, budget_s: float) -> None:
        self._ends = time.monotonic() + budget_s
        self.left_out: list[str] = []

    def allows(self, what: str, least_s: float) -> bool:
        """Whether so much time is left; if not, that is remembered."""
        enough = self._ends - time.monotonic() >= least_s
        if not enough:
            self.left_out.append(what)
        return enough


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiny", action="store_true", help="on a processor, next to nothing: whether it runs")
    parser.add_argument("--budget", type=float, default=540.0, metavar="SECONDS", help="begin nothing after that")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for gpu.md and gpu.json")
    args = parser.parse_args()
    if not args.tiny and not torch.cuda.is_available():
        sys.exit("error: torch sees no GPU here; install a CUDA build of torch, or try the script with --tiny")
    plan = TINY if args.tiny else Plan("cuda")
    clock = Clock(args.budget)
    lines: list[Line] = []
    args.out.mkdir(parents=True, exist_ok=True)
    for line in measured(plan, clock):
        print(f"{line.part}: {line.what}: {line.median:.4g} {line.unit}", flush=True)
        lines.append(line)
        # After every line, since a lent machine may go at any time.
        write(args.out, plan, lines, clock.left_out)
    write(args.out, plan, lines, clock.left_out)


def measured(plan: Plan, clock: Clock) -> Iterator[Line]:
    """All parts, the one that others are compared with first."""
    ceilings = {}
    for precision in plan.precisions:
        ceilings[precision] = ceiling(plan, precision)
        yield ceilings[precision]
    for precision in plan.precisions:
        for compiled in (False, True) if plan.device == "cuda" else (False,):
            name = f"{precision}, {'compiled, CUDA graphs' if compiled else 'eager'}"
            if clock.allows(f"full model, {name}", 90 if compiled else 30):
                yield from full_model(plan, precision, compiled, name, ceilings[precision].median)
    for tokens in plan.tokens:
        if clock.allows(f"cohorts, {tokens} tokens", 60):
            yield from cohorts(plan, tokens)


def ceiling(plan: Plan, precision: str) -> Line:
    """The largest rate of a square product."""
    a, b = (torch.randn(plan.side, plan.side, device=plan.device).to(TYPES[precision]) for _ in range(2))
    seconds = timed(lambda: a @ b, plan)
    rates = sorted(2 * plan.side**3 / each / 1e12 for each in seconds)
    what = f"{precision}, product of {plan.side} x {plan.side}"
    return Line("ceiling", what, statistics.median(rates), rates[0], rates[-1], "TFLOP/s")


def full_model(plan: Plan, precision: str, compiled: bool, name: str, most: float) -> Iterator[Line]:
    """Latency of one sample, and samples a second of batches; what it computes as a share of the ceiling."""
    model = FullModel.random(plan.profile, Compute(plan.device, precision, compiled))
    sample = probe_sample()
    sources = {"text": sample.text, "audio": sample.audio, "video": sample.video}
    prepared = {modality: encoder.prepare(sources[modality]) for modality, encoder in model.encoders.items()}
    operations = 0 if compiled else counted(model, prepared)
    for size in plan.batches:
        seconds = timed(partial(answer, model, prepared, size), plan)
        if size == 1:
            milliseconds = sorted(1e3 * each for each in seconds)
            yield Line(
                "full model",
                f"{name}, one sample",
                statistics.median(milliseconds),
                milliseconds[0],
                milliseconds[-1],
                "ms",
            )
            continue
        rates = sorted(size / each for each in seconds)
        rate = statistics.median(rates)
        share = rate * operations / 1e12 / most if operations else None
        yield Line("full model", f"{name}, batches of {size}", rate, rates[0], rates[-1], "samples/s", share)


def answer(model: FullModel, prepared: dict[str, Prepared], size: int) -> None:
    """One batch of equal samples through encoders and fusion."""
    encoded = {modality: encoder.encode([prepared[modality]] * size) for modality, encoder in model.encoders.items()}
    model.fuse([{modality: features[place] for modality, features in encoded.items()} for place in range(size)])


def counted(model: FullModel, prepared: dict[str, Prepared]) -> int:
    """Operations of one sample."""
    with FlopCounterMode(display=False) as counter:
        answer(model, prepared, 1)
    return int(counter.get_total_flops())


def cohorts(plan: Plan, tokens: int) -> Iterator[Line]:
    """Clients one after the other, and whole cohorts at once."""
    workload = Workload(tokens=tokens, clients=plan.clients, clients_a_round=plan.clients)
    with tempfile.TemporaryDirectory() as scratch:
        cohort = workload.write_cohort(Path(scratch) / "cohort")
        task = ClientTask(cohort, "cmt", workload.model_options, device=plan.device)
        for name, privacy in PRIVACIES.items():
            ways = compare(task, TrainConfig(privacy=privacy), plan.clients, 64, max(1, plan.repeats // 5))
            for way, milliseconds in ways.items():
                yield Line(
                    "training",
                    f"{tokens} tokens, {name}, {way}",
                    statistics.median(milliseconds),
                    min(milliseconds),
                    max(milliseconds),
                    "ms a client",
                )


def timed(work: Callable[[], object], plan: Plan) -> list[float]:
    """Seconds of each turn that counts."""
    seconds = []
    for turn in range(plan.repeats + plan.warming):
        began = time.perf_counter()
        work()
        if plan.device == "cuda":
            torch.cuda.synchronize()
        if turn >= plan.warming:
            seconds.append(time.perf_counter() - began)
    return seconds


def write(out: Path, plan: Plan, lines: list[Line], left_out: list[str]) -> None:
    """The table so far, for people and for programs."""
    device = torch.cuda.get_device_name() if plan.device == "cuda" else "a processor: these are no figures of a GPU"
    head = f"{device}, torch {torch.__version__}; median (least to greatest)"
    rows = ["| part | what | figure | share of the ceiling |", "|---|---|---|---|"]
    for line in lines:
        share = "" if line.share is None else f"{line.share:.0%}"
        figure = f"{line.median:.4g} ({line.least:.4g} to {line.most:.4g}) {line.unit}"
        rows.append(f"| {line.part} | {line.what} | {figure} | {share} |")
    missing = [f"\nLeft out for want of time: {'; '.join(left_out)}."] if left_out else []
    (out / "gpu.md").write_text("\n".join([f"# On {head}\n", *rows, *missing]) + "\n", encoding="utf-8")
    told = {"device": device, "torch": torch.__version__, "plan": asdict(plan), "left_out": left_out}
    (out / "gpu.json").write_text(json.dumps(told | {"lines": [asdict(line) for line in lines]}, indent=1) + "\n")


if __name__ == "__main__":
    main()
