"""A device has no torch: everything in edge_runtime imports and encodes where torch cannot be imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys

FORBIDDEN = {"torch", "transformers", "flwr", "ray", "opacus", "scipy", "pandas", "matplotlib", "onnx",
             "client", "server", "simulation"}

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in FORBIDDEN:
            raise ImportError(name + " is not on this device")

sys.meta_path.insert(0, Refuse())
import importlib, pkgutil
import edge_runtime

names = [m.name for m in pkgutil.walk_packages(edge_runtime.__path__, "edge_runtime.")]
for name in names:
    importlib.import_module(name)

import numpy as np
from pathlib import Path
from edge_runtime.bundle import Bundle
from edge_runtime.sample import Frames, Waveform

bundle = Bundle.load(Path(sys.argv[1]))
sources = {
    "text": "i am happy",
    "audio": Waveform(np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32), 16000),
    "video": Frames(np.zeros((2, 64, 64, 3), np.uint8), 5.0),
}
for modality, source in sources.items():
    encoder = bundle.encoder(modality)
    (features,) = encoder.encode([encoder.prepare(source)])
    assert features.shape[1] == encoder.width, modality
assert not FORBIDDEN & set(sys.modules)
print(len(names))
"""


def test_a_device_without_torch_imports_and_encodes(tiny_bundle: Path) -> None:
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tiny_bundle)], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 15
