"""A device's learning on another processor: updates without torch on emulated aarch64 beside those of this machine.

    python -m benchmarks.aarch64_device --root ROOT

ROOT holds Debian's arm64 packages of Python 3.11, unpacked, and under ``ROOT/opt/device`` the aarch64 wheels of the
``learn`` extra (``pip install --platform manylinux_2_28_aarch64 --only-binary :all: --target ROOT/opt/device ...``);
``qemu-aarch64-static`` runs it as a Raspberry Pi 4's Cortex-A72. What is learned is the shipped fusion, by its shipped
step, on constructed tokens: one client's update plain, with AdamW, with FedProx, and by clipped sums of single
examples. On this machine the tests hold the same step to torch's.

Prints one JSON object a setting: how far the emulated update is from this machine's, as a share of its length.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from fedaffect.client.cohort import Cohort, TokenTable
from fedaffect.client.layout import ArrayLayout
from fedaffect.client.onnx_engine.graph import StepAbout, StepGraph
from fedaffect.client.onnx_engine.task import OnnxTask
from fedaffect.client.privacy.settings import PrivacyConfig
from fedaffect.client.train_config import TrainConfig

ROOT: Final = Path(__file__).resolve().parents[1]
STEP: Final = ROOT / "server/fedaffect/server/models/bundling/trained/step.onnx.gz"
SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "plain": {},
    "adamw": {"optimizer": "adamw", "lr": 0.001},
    "fedprox": {"algorithm": "fedprox", "options": {"proximal-mu": 1.0}},
    "clipped": {"privacy": PrivacyConfig(clip_norm=0.2, noise="seeded")},
}
_EXAMPLES: Final = 24
_CPUINFO: Final = """processor\t: {}
Features\t: fp asimd evtstrm crc32 cpuid
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x0
CPU part\t: 0xd08
CPU revision\t: 3
"""


def main() -> None:
    """Learn here and there, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="the unpacked packages")
    parser.add_argument("--learn", type=Path, help="only learn, and write this file")
    asked = parser.parse_args()
    if asked.learn is not None:
        np.savez(asked.learn, **learned())
    elif asked.root is not None:
        _compare(asked.root)
    else:
        parser.error("give --root")


def _compare(root: Path) -> None:
    with TemporaryDirectory() as folder:
        here, there = (Path(folder) / f"{name}.npz" for name in ("here", "there"))
        np.savez(here, **learned())
        _emulated(root, there)
        ours, theirs = np.load(here), np.load(there)
        for name in SETTINGS:
            apart = np.linalg.norm(theirs[name] - ours[name]) / np.linalg.norm(ours[name])
            print(json.dumps({"setting": name, "apart": float(apart), "seconds": float(theirs[f"{name}-s"])}))
        answers = float(np.abs(theirs["answers"] - ours["answers"]).max())
        print(json.dumps({"machines": [str(ours["machine"]), str(theirs["machine"])], "answers_apart": answers}))


def learned() -> dict[str, Any]:
    """A client's updates by setting, and what the model answers before them, on whatever processor this runs."""
    step = StepGraph.load(STEP)
    task, start = OnnxTask(_cohort(step.about), step), _start(step.about.layout)
    found: dict[str, Any] = {"machine": platform.machine()}
    for name, settings in SETTINGS.items():
        began = time.monotonic()
        config = TrainConfig(**{"local_epochs": 2, "batch_size": 8, "lr": 0.05, **settings})
        update = task.train(start, config, client=0, round=1, seed=3)
        found |= {name: update.weights - start, f"{name}-s": time.monotonic() - began}
    return {**found, "answers": task.evaluate(start, np.arange(_EXAMPLES)).probabilities}


def _start(layout: ArrayLayout) -> np.ndarray:
    rng = np.random.default_rng(0)
    pieces = [rng.normal(0, 0.05 if len(shape) > 1 else 0.01, shape).ravel() for shape in layout.shapes]
    return np.concatenate(pieces).astype(np.float32)


def _cohort(about: StepAbout) -> Cohort:
    rng = np.random.default_rng(1)
    labels, rows = np.arange(_EXAMPLES) % about.classes, np.arange(_EXAMPLES)
    tables = {}
    for stream, width in about.widths.items():
        lengths = rng.integers(1, 12, _EXAMPLES)
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        tables[stream] = TokenTable(rng.normal(size=(int(offsets[-1]), width)).astype(np.float32), offsets)
    return Cohort(
        tables=tables,
        present={stream: np.ones(_EXAMPLES, bool) for stream in tables},
        labels=labels,
        train_labels=labels,
        client_offsets=np.array([0, _EXAMPLES]),
        client_rows=rows,
        splits={},
        groups=np.zeros(_EXAMPLES, np.int64),
        group_names=("somebody",),
        client_names=("somebody",),
        label_names=tuple(f"class {number}" for number in range(about.classes)),
    )


def _emulated(root: Path, out: Path) -> None:
    # ONNX Runtime crashes where it finds another processor's.
    cpuinfo = root / "proc/cpuinfo"
    cpuinfo.parent.mkdir(exist_ok=True)
    cpuinfo.write_text("\n".join(_CPUINFO.format(core) for core in range(os.cpu_count() or 1)), encoding="ascii")
    rooms = [str(ROOT / room) for room in ("edge_runtime", "client", "server")]
    paths = [str(root / "opt/device"), str(ROOT), *rooms]
    python = ("qemu-aarch64-static", "-cpu", "cortex-a72", "-L", str(root), str(root / "usr/bin/python3.11"))
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        (*python, "-m", "benchmarks.aarch64_device", "--learn", str(out)), env=environment, check=False
    )
    if done.returncode:
        sys.exit(f"the emulated device failed with {done.returncode}; see above")


if __name__ == "__main__":
    main()
