"""How fast, small and quick to start the edge runtime is on one core; one command measures and prints all of it.

    python -m benchmarks.edge_latency [--bundle FOLDER] [--repeats 15] [--out FILE.json]

Every figure is a median of repetitions on one pinned core; what is compared takes turns within one process, so that a
busy machine slows both alike. Cold start and memory are those of processes of their own in which torch is never
imported.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TOKENS, SAMPLES = 32, 48_000


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value beside its goal; ``at_least`` where more is better."""

    name: str
    value: float
    unit: str
    goal: float | None = None
    at_least: bool = False

    @property
    def row(self) -> tuple[str, str, str, str]:
        """As text: name, value, goal, and the value's share of the goal."""
        value = f"{self.value:.2f}" if self.value < 10 else f"{self.value:.0f}"
        if self.goal is None:
            return self.name, f"{value} {self.unit}", "", ""
        sign = "≥" if self.at_least else "≤"
        return self.name, f"{value} {self.unit}", f"{sign} {self.goal:g} {self.unit}", f"{self.value / self.goal:.2f}"


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    if arguments.part:
        print(json.dumps(_PARTS[arguments.part](arguments)))
        return
    bundle = _bundle(arguments)
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    memory = _median_of("memory", arguments, 3)
    figures = [
        *_latencies(arguments, bundle),
        *_against_eager(arguments),
        Figure("bundle", sum(file.size_bytes for file in bundle.manifest.files) / 1e6, "MB", 45),
        Figure("memory of the process after 10 samples and a stream", memory["now_mb"], "MB", 300),
        Figure("memory of the process, at its highest", memory["peak_mb"], "MB"),
        Figure("cold start to first answer, words, voice and face", _cold_start_s(arguments), "s", 1.5),
        Figure("installed without torch, all base dependencies", installed_mb(), "MB"),
    ]
    show(figures, bundle.version, core)
    if arguments.out:
        rows = [asdict(figure) for figure in figures]
        content = {"bundle": bundle.version, "processor": _processor(), "load": os.getloadavg(), "figures": rows}
        arguments.out.write_text(json.dumps(content, indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    parser.add_argument("--skip-eager", action="store_true", help="leave out the comparison with PyTorch")
    parser.add_argument("--part", choices=sorted(_PARTS), help=argparse.SUPPRESS)
    return parser.parse_args()


def _bundle(arguments: argparse.Namespace) -> Any:
    from fedaffect.edge.bundle import Bundle, usual_bundle_path

    return Bundle.load(arguments.bundle or usual_bundle_path())


def _latencies(arguments: argparse.Namespace, bundle: Any) -> Iterator[Figure]:
    from fedaffect.edge.runtime.speed import measure_parts

    parts = measure_parts(bundle, arguments.repeats)
    for part in parts[:-2]:
        yield Figure(part.name, part.median_ms, "ms")
    whole, hop = parts[-2:]
    yield Figure("3 s sample: 15 pictures, speech, 20 words; decoded media to label", whole.median_ms, "ms", 120)
    yield Figure("of which the processor worked on it", whole.processor_ms, "ms")
    yield Figure("hop of half a second, streaming", hop.median_ms, "ms", 40)
    yield Figure("of which the processor worked on it", hop.processor_ms, "ms")
    yield Figure("hop of half a second, 90th percentile", hop.p90_ms, "ms")


def _against_eager(arguments: argparse.Namespace) -> Iterator[Figure]:
    if arguments.skip_eager:
        return
    times = _run("eager", arguments)
    for name, milliseconds in times["eager"].items():
        yield Figure(f"PyTorch eager, {name}", milliseconds, "ms")
    ours, theirs = sum(times["edge"].values()), sum(times["eager"].values())
    yield Figure("edge encoders and fusion, one face, 3 s, 32 tokens", ours, "ms")
    yield Figure("times faster than ViT-B/16 + wav2vec2-base + BERT-base", theirs / ours, "x", 25, at_least=True)


def _eager(arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Both sides in turns, from what preprocessing gives to features, and ours to the label."""
    import numpy as np
    import torch
    from transformers import BertConfig, BertModel, ViTConfig, ViTModel, Wav2Vec2Config, Wav2Vec2Model

    from fedaffect.edge.encoders.base import Prepared
    from fedaffect.edge.media.log_mel import log_mel
    from fedaffect.edge.runtime.opened import OpenBundle

    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    sound = rng.normal(0, 0.1, SAMPLES).astype(np.float32)
    opened = OpenBundle(_bundle(arguments))
    side = opened.encoders["video"].settings.size  # type: ignore[attr-defined]
    face = Prepared(rng.integers(0, 256, (1, side, side, 3), dtype=np.uint8))
    words = Prepared(rng.integers(1_000, 20_000, TOKENS))
    tokens = {
        "text": opened.encode("text", words),
        "audio": opened.encode("audio", Prepared(log_mel(sound), 3.0)),
        "video": opened.encode("video", face),
    }
    vit, wav2vec2, bert = (
        ViTModel(ViTConfig()).eval(),  # type: ignore[no-untyped-call]
        Wav2Vec2Model(Wav2Vec2Config()).eval(),  # type: ignore[no-untyped-call]
        BertModel(BertConfig()).eval(),  # type: ignore[no-untyped-call]
    )
    picture, wave = torch.randn(1, 3, 224, 224), torch.from_numpy(sound)[None]
    ids = torch.randint(1_000, 20_000, (1, TOKENS))
    edge: dict[str, Callable[[], Any]] = {
        "face": lambda: opened.encode("video", face),
        "voice": lambda: opened.encode("audio", Prepared(log_mel(sound), 3.0)),
        "words": lambda: opened.encode("text", words),
        "fusion": lambda: opened.answer(tokens),
    }
    eager: dict[str, Callable[[], Any]] = {
        "ViT-B/16, one picture": lambda: vit(picture),
        "wav2vec2-base, 3 s": lambda: wav2vec2(wave),
        "BERT-base, 32 tokens": lambda: bert(ids),
    }
    with torch.inference_mode():
        return {"edge": {}, "eager": {}} | _in_turns({"edge": edge, "eager": eager}, arguments.repeats)


def _in_turns(sides: dict[str, dict[str, Callable[[], Any]]], repeats: int) -> dict[str, dict[str, float]]:
    taken: dict[tuple[str, str], list[float]] = {}
    for repeat in range(repeats + 1):
        for side, calls in sides.items():
            for name, call in calls.items():
                started_s = perf_counter()
                call()
                if repeat:
                    taken.setdefault((side, name), []).append((perf_counter() - started_s) * 1000)
    return {side: {name: median(taken[side, name]) for name in calls} for side, calls in sides.items()}


def _memory(arguments: argparse.Namespace) -> dict[str, float]:
    """Of a process that has predicted samples and a stream; torch is not in it."""
    from fedaffect.edge import EdgeRuntime
    from fedaffect.edge.runtime.probes import probe_sample
    from fedaffect.edge.runtime.speed import hop_times_ms

    with EdgeRuntime.load(_bundle(arguments)) as runtime:
        for _ in range(10):
            runtime.predict(probe_sample())
        hop_times_ms(runtime, 10)
    if "torch" in sys.modules:
        raise SystemExit("torch was imported on the device; find out by whom")
    # Not getrusage, whose highest includes the process that this one was forked from.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    kilobytes = {name: int(status[field].split()[0]) for name, field in (("peak_mb", "VmHWM"), ("now_mb", "VmRSS"))}
    return {name: size * 1024 / 1e6 for name, size in kilobytes.items()}


def _first(arguments: argparse.Namespace) -> dict[str, str]:
    """What a fresh process does: open the bundle, its hashes and signature included, and answer."""
    from fedaffect.edge import EdgeRuntime
    from fedaffect.edge.runtime.probes import probe_sample

    with EdgeRuntime.load(_bundle(arguments)) as runtime:
        return {"label": runtime.predict(probe_sample()).label}


_PARTS: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "eager": _eager,
    "memory": _memory,
    "first": _first,
}


def _cold_start_s(arguments: argparse.Namespace) -> float:
    """From the start of the process to its answer; files are in the page cache after the first, which is left out."""
    times = []
    for _ in range(6):
        started_s = perf_counter()
        _run("first", arguments)
        times.append(perf_counter() - started_s)
    return median(times[1:])


def _median_of(part: str, arguments: argparse.Namespace, runs: int) -> dict[str, float]:
    found = [_run(part, arguments) for _ in range(runs)]
    return {name: median(one[name] for one in found) for name in found[0]}


def _run(part: str, arguments: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.edge_latency", "--part", part, "--repeats", str(arguments.repeats)]
    if arguments.bundle:
        command += ["--bundle", str(arguments.bundle.resolve())]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} failed: {done.stderr.strip()}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def installed_mb(extra: str = "") -> float:
    """Files of the base dependencies and an extra's, and of what they depend on themselves."""
    from packaging.requirements import Requirement

    left = [("fedaffect", frozenset({extra}))]
    seen: set[tuple[str, frozenset[str]]] = set()
    counted: set[str] = set()
    size = 0
    while left:
        name, extras = left.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue
        for line in found.requires or ():
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": one}) for one in (*extras, "")):
                left.append((requirement.name.lower().replace("_", "-"), frozenset(requirement.extras)))
        if name in counted or name == "fedaffect":
            continue
        counted.add(name)
        paths = [Path(str(file.locate())) for file in found.files or ()]
        size += sum(path.stat().st_size for path in paths if path.is_file() and path.suffix != ".pyc")
    if not extra and "torch" in counted:
        raise SystemExit("torch is among the base dependencies; it must not be")
    return size / 1e6


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def show(figures: list[Figure], version: str, core: int) -> None:
    """Print a table of figures."""
    from rich.console import Console
    from rich.table import Table

    title = f"{version} on core {core} of {_processor()}, load {os.getloadavg()[0]:.1f}"
    table = Table("", "measured", "goal", "measured / goal", title=title)
    for figure in figures:
        table.add_row(*figure.row)
    Console(width=130).print(table)


if __name__ == "__main__":
    main()
