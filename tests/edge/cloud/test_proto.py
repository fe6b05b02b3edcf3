"""The committed code is what the proto makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path("fedaffect/edge/cloud/proto")


def test_generated_code_is_that_of_the_proto(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    command = [sys.executable, "-m", "grpc_tools.protoc", "-I", ".", *outputs, str(FOLDER / "affect.proto")]
    subprocess.run(command, cwd=ROOT / "edge_runtime", check=True)
    made = sorted((tmp_path / FOLDER).iterdir())
    assert [file.name for file in made] == ["affect_pb2.py", "affect_pb2.pyi", "affect_pb2_grpc.py"]
    for file in made:
        assert file.read_text() == (ROOT / "edge_runtime" / FOLDER / file.name).read_text(), (
            f"{file.name} is old; run: make proto"
        )
