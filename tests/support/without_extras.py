"""A Python in which nothing can be imported that the base installation leaves out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

EXTRAS = {"torch", "transformers", "flwr", "ray", "opacus", "scipy", "pandas", "matplotlib", "onnx", "onnxscript"}
EXTRAS |= {
    "safetensors",
    "sqlalchemy",
    "alembic",
    "fastapi",
    "uvicorn",
    "prometheus_client",
    "psutil",
    "ctranslate2",
    "pydantic",
}
ROOMS = {"fedaffect.client", "fedaffect.server", "fedaffect.simulation"}

_REFUSE = """
import sys

REFUSED = set({refused!r})

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if REFUSED & {{name, name.partition(".")[0], ".".join(name.split(".")[:2])}}:
            raise ModuleNotFoundError("No module named " + repr(name), name=name)

sys.meta_path.insert(0, Refuse())
"""


def refusing(refused: set[str], folder: Path) -> dict[str, str]:
    """What makes every Python that is started with this environment one in which packages cannot be imported."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(_REFUSE.format(refused=sorted(refused)), encoding="utf-8")
    return {"PYTHONPATH": str(folder)}


def run_without(
    refused: set[str], program: str, *arguments: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a program, with ``sys.argv`` of its own, where packages cannot be imported; ``REFUSED`` names them there."""
    return subprocess.run(
        [sys.executable, "-c", _REFUSE.format(refused=sorted(refused)) + program, *arguments],
        cwd=Path(__file__).resolve().parents[2],
        env=os.environ | dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
    )
