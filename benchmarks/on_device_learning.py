"""What learning on a device costs without torch, beside torch: time a step, memory, cold start, installed size.

    python -m benchmarks.on_device_learning [--bundle FOLDER] [--repeats 9] [--examples 32]

The model is the bundle's own fusion, by default the one that this project ships. Examples are constructed: Gaussian
tokens as many as a sample of three seconds has. Steps of both engines take turns in one process on one pinned core;
memory and cold start are those of processes of their own, which answer one round's message as a device's trainer does.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks.edge_latency import Figure, installed_mb, show

ROOT = Path(__file__).resolve().parents[1]
# Of the samples that a device keeps: words, three seconds of voice, of face.
LENGTHS = {"text": 20, "audio": 8, "video": 15}
BATCH, STEPS = 16, 10
ENGINES = ("onnx", "torch")


def main() -> None:
    """Measure and print."""
    arguments = _arguments()
    if arguments.part:
        print(json.dumps(_PARTS[arguments.part](arguments)))
        return
    core = min(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    with TemporaryDirectory() as folder:
        _install(arguments, Path(folder))
        figures = _steps(arguments)
        for engine in ENGINES:
            device = _device(arguments, Path(folder) / engine, engine)
            rounds = [_run("round", device) for _ in range(4)]
            named = "without torch" if engine == "onnx" else "with torch"
            goal = 350.0 if engine == "onnx" else None
            figures += [
                Figure(f"memory of a round {named}, at its highest", rounds[-1]["peak_mb"], "MB", goal),
                Figure(f"cold start to the first update, {named}", median(r["took_s"] for r in rounds[1:]), "s"),
            ]
        figures += [
            Figure("training step in the bundle", _bundle().manifest.fusion.step.size_bytes / 1e3, "kB"),
            Figure("installed, learn extra", installed_mb("learn"), "MB", 350),
            Figure("installed, client extra (torch)", installed_mb("client"), "MB"),
        ]
        show(figures, _bundle().version, core)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--examples", type=int, default=32)
    parser.add_argument("--part", choices=sorted(_PARTS))
    parser.add_argument("--device", type=Path)
    return parser.parse_args()


def _install(arguments: argparse.Namespace, folder: Path) -> None:
    """Have the bundle in use in this process and those that it starts, and nothing of the user's changed."""
    from fedaffect.edge.bundle import Bundle, BundleStore, usual_bundle_path

    source = (arguments.bundle or usual_bundle_path()).resolve()
    Bundle.load(source)
    os.environ.update(OMP_NUM_THREADS="1", FEDAFFECT_DATA=str(folder / "data"), FEDAFFECT_CACHE=str(folder / "cache"))
    BundleStore.default().install(source)


def _bundle() -> Any:
    from fedaffect.client.device.training_data import installed_bundle

    return installed_bundle("edge")


def _steps(arguments: argparse.Namespace) -> list[Figure]:
    """Milliseconds a step of each engine, in turns, plain and with DP-SGD."""
    import torch

    from fedaffect.client.onnx_engine.graph import StepGraph
    from fedaffect.client.onnx_engine.task import OnnxTask
    from fedaffect.client.privacy.settings import PrivacyConfig
    from fedaffect.client.task import ClientTask
    from fedaffect.client.train_config import TrainConfig

    torch.set_num_threads(1)
    bundle = _bundle()
    step = StepGraph.load(bundle.path / bundle.manifest.fusion.step.file)
    cohort = _cohort(step.about.widths, step.about.classes, arguments.examples)
    tasks: dict[str, Any] = {
        "torch": ClientTask(cohort, step.about.model, step.about.options),
        "onnx": OnnxTask(cohort, step),
    }
    start = tasks["torch"].initial_weights(0)
    figures = []
    for kind, privacy in (("plain", None), ("with noise", PrivacyConfig(epsilon=8.0))):
        config = TrainConfig(local_epochs=STEPS, batch_size=BATCH, max_steps=STEPS, lr=1e-3, privacy=privacy)
        taken: dict[str, list[float]] = {engine: [] for engine in ENGINES}
        for repeat in range(arguments.repeats + 1):
            for engine in ENGINES:
                given = start.numpy() if engine == "onnx" else start
                began = perf_counter()
                tasks[engine].train(given, config, client=0, round=repeat, seed=0)
                if repeat:
                    taken[engine].append(1000 * (perf_counter() - began) / STEPS)
        ms = {engine: median(times) for engine, times in taken.items()}
        figures += [
            Figure(f"a step of {BATCH} examples, {kind}, torch", ms["torch"], "ms"),
            Figure(f"a step of {BATCH} examples, {kind}, ONNX Runtime", ms["onnx"], "ms", 1.2 * ms["torch"]),
        ]
    return figures


def _cohort(widths: Mapping[str, int], classes: int, examples: int) -> Any:
    from fedaffect.client.cohort import Cohort, TokenTable

    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, examples)
    everybody, nobody = np.arange(examples, dtype=np.int64), np.zeros(0, np.int64)
    return Cohort(
        tables={
            stream: TokenTable(
                rng.normal(size=(examples * LENGTHS[stream], width)).astype(np.float16),
                np.arange(examples + 1, dtype=np.int64) * LENGTHS[stream],
            )
            for stream, width in widths.items()
        },
        present={stream: np.ones(examples, bool) for stream in widths},
        labels=labels,
        train_labels=labels,
        client_offsets=np.array([0, examples], np.int64),
        client_rows=everybody,
        splits={"dev": nobody, "test": nobody},
        groups=np.zeros(examples, np.int64),
        group_names=("device",),
        client_names=("device",),
        label_names=tuple(str(label) for label in range(classes)),
    )


def _device(arguments: argparse.Namespace, folder: Path, engine: str) -> Path:
    """A device's folder with examples to learn from, and the bundle installed beside it."""
    from fedaffect.client.device.folder import DeviceFolder, DeviceSettings
    from fedaffect.edge.prediction import Prediction
    from fedaffect.edge.store import Database, ExampleStore

    bundle = _bundle()
    widths, labels = bundle.manifest.fusion.widths, bundle.label_set.labels
    store = folder / "examples.sqlite3"
    device = DeviceFolder.at(folder / "device")
    device.save(
        DeviceSettings(
            id="a",
            name="device",
            number=0,
            server="https://x:1",
            superlink="x:2",
            consent=True,
            only_private=False,
            engine=engine,
            store=str(store),
        )
    )
    rng, keys = np.random.default_rng(0), {modality: bundle.encoder_key(modality) for modality in widths}
    with Database(store) as database:
        examples = ExampleStore(database)
        for number in range(arguments.examples * 5 // 4):
            label = labels[number % len(labels)]
            features = {m: rng.normal(size=(LENGTHS[m], w)).astype(np.float16) for m, w in widths.items()}
            answer = Prediction(label, {label: 1.0}, 1.0, "edge", tuple(widths), 1.0, "v", "confident")
            examples.add(f"r{number}", features, keys, answer)
            examples.label(f"r{number}", label, consent=True)
    return device.path


def _round(arguments: argparse.Namespace) -> dict[str, float]:
    """What a device's trainer does for one message of a round, from the start of its process."""
    from flwr.app import Context, Message, MessageType, RecordDict
    from safetensors.numpy import load_file

    from fedaffect.client import wire
    from fedaffect.client.device.folder import DeviceFolder
    from fedaffect.client.device.permission import Surroundings
    from fedaffect.client.device.resident import DeviceAnswers
    from fedaffect.client.flower_compat.names import act_as
    from fedaffect.client.onnx_engine.graph import StepGraph
    from fedaffect.client.train_config import TrainConfig

    act_as(1, 1, 1)
    bundle = _bundle()
    fusion = bundle.manifest.fusion
    about = StepGraph.load(bundle.path / fusion.step.file).about
    weights = {n: a.astype(np.float32) for n, a in load_file(bundle.path / fusion.weights.file).items()}
    settings = TrainConfig(local_epochs=3, batch_size=BATCH, lr=1e-3, optimizer="adamw").to_record()
    terms = {wire.SERVER_ROUND: 1, wire.LABELS: bundle.label_set.name, wire.LAYOUT: about.layout.digest()}
    config = wire.request_config(Path("/nowhere"), about.model, about.options, 0, {**settings, **terms})
    arrays = wire.named_to_record({name: weights[name] for name in about.layout.names})
    message = Message(RecordDict({wire.ARRAYS: arrays, wire.CONFIG: config}), 1, MessageType.TRAIN)
    context = Context(run_id=1, node_id=1, node_config={"partition-id": 0}, state=RecordDict(), run_config={})
    reply = DeviceAnswers(DeviceFolder(arguments.device), lambda: Surroundings())(message, context)
    if reply.has_error():
        raise SystemExit(f"the device refused: {reply.error.reason}")
    if ("torch" in sys.modules) != (DeviceFolder(arguments.device).settings.engine == "torch"):
        raise SystemExit("torch was imported where it must not be, or was not where it must")
    # Not getrusage, whose highest includes the process that this one was forked from.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return {"peak_mb": int(status["VmHWM"].split()[0]) * 1024 / 1e6}


_PARTS: dict[str, Callable[[argparse.Namespace], dict[str, float]]] = {"round": _round}


def _run(part: str, device: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.on_device_learning", "--part", part, "--device", str(device)]
    began = perf_counter()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{part} failed: {done.stderr.strip()}")
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return {**answer, "took_s": perf_counter() - began}


if __name__ == "__main__":
    main()
