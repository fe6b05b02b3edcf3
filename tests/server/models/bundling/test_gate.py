from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.gate import choose, mean_cosine
from fedaffect.server.models.bundling.precision import (
    INTEGER_OPERATORS,
    Feed,
    halve_weights,
    operators,
    quantise_dynamic,
    quantise_static,
)


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Linear(2048, 512))
    path = tmp_path_factory.mktemp("dense") / "dense.onnx"
    to_onnx(network, "x", torch.randn(2, 9, 512), {0: "B", 1: "T"}, path)
    return path


@pytest.fixture(scope="module")
def feeds() -> tuple[Feed, ...]:
    rng = np.random.default_rng(0)
    return tuple({"x": rng.normal(size=(1, n, 512)).astype(np.float32)} for n in (32, 7))


def integer_operators(path: Path) -> int:
    return sum(count for name, count in operators(path).items() if name in INTEGER_OPERATORS)


def test_dynamic_quantisation_computes_in_integers(dense: Path, feeds: tuple[Feed, ...], tmp_path: Path) -> None:
    quantise_dynamic(dense, tmp_path / "small.onnx")
    assert integer_operators(tmp_path / "small.onnx") == 2
    assert integer_operators(dense) == 0
    assert (tmp_path / "small.onnx").stat().st_size < dense.stat().st_size / 3
    assert mean_cosine(dense, tmp_path / "small.onnx", feeds) > 0.99


def test_static_quantisation_of_convolutions(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(2))
    feeds: list[Feed] = [
        {"x": np.random.default_rng(i).normal(size=(1, 3, 12, 12)).astype(np.float32)} for i in range(6)
    ]
    to_onnx(network, "x", torch.from_numpy(feeds[0]["x"]), {0: "B"}, tmp_path / "full.onnx")
    quantise_static(tmp_path / "full.onnx", tmp_path / "small.onnx", feeds)
    assert integer_operators(tmp_path / "small.onnx") == 2
    assert mean_cosine(tmp_path / "full.onnx", tmp_path / "small.onnx", feeds) > 0.98


def test_half_weights_halve_the_file_and_compute_as_before(
    dense: Path, feeds: tuple[Feed, ...], tmp_path: Path
) -> None:
    halve_weights(dense, tmp_path / "half.onnx")
    assert (tmp_path / "half.onnx").stat().st_size < 0.51 * dense.stat().st_size
    assert "Cast" not in operators(tmp_path / "half.onnx")
    assert mean_cosine(dense, tmp_path / "half.onnx", feeds) > 0.99999


def test_unfaithful_int8_is_refused(dense: Path, feeds: tuple[Feed, ...], tmp_path: Path) -> None:
    full = Path(shutil.copy(dense, tmp_path / "full.onnx"))
    choice = choose(full, quantise_dynamic, feeds, "x", bound=1.1)
    assert choice.precision == "fp16"
    assert choice.fidelity["int8_cosine"] < 1.1
    assert choice.latency_ms.keys() == {"fp32", "int8", "input"}


@pytest.mark.slow
def test_both_are_carried_where_int8_is_faithful_whichever_is_faster_here(
    dense: Path, feeds: tuple[Feed, ...], tmp_path: Path
) -> None:
    full = Path(shutil.copy(dense, tmp_path / "full.onnx"))
    choice = choose(full, quantise_dynamic, feeds, "x", bound=0.9, carry_both=True)
    assert {choice.precision, *choice.alternatives} == {"int8", "fp16"}
    assert all(path.is_file() for path in choice.alternatives.values())
    assert not choose(full, quantise_dynamic, feeds, "x", bound=0.9).alternatives
    assert not choose(full, quantise_dynamic, feeds, "x", bound=1.1, carry_both=True).alternatives


def test_weights_alone_in_int8_are_refused(dense: Path, feeds: tuple[Feed, ...], tmp_path: Path) -> None:
    """Such a graph is small, but ONNX Runtime folds it back to FP32: nothing would run faster."""

    def weights_only(source: Path, target: Path) -> None:
        model = onnx.load(source)
        for tensor in list(model.graph.initializer):
            values = onnx.numpy_helper.to_array(tensor)
            if values.ndim == 2:
                scale = np.float32(np.abs(values).max() / 127)
                model.graph.initializer.remove(tensor)
                model.graph.initializer.extend(
                    [
                        onnx.numpy_helper.from_array(np.round(values / scale).astype(np.int8), f"{tensor.name}_q"),
                        onnx.numpy_helper.from_array(scale, f"{tensor.name}_s"),
                    ]
                )
                node = onnx.helper.make_node(
                    "DequantizeLinear", [f"{tensor.name}_q", f"{tensor.name}_s"], [tensor.name]
                )
                model.graph.node.insert(0, node)
        onnx.save(model, target)

    full = Path(shutil.copy(dense, tmp_path / "full.onnx"))
    assert choose(full, weights_only, feeds, "x", bound=0.5).precision == "fp16"


def test_without_quantisation_nothing_changes(dense: Path, feeds: tuple[Feed, ...]) -> None:
    choice = choose(dense, None, feeds, "x", bound=0.9)
    assert (choice.path, choice.precision) == (dense, "fp32")


def test_only_named_operators_are_quantised(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv1d(4, 64, 3), nn.Flatten(2), nn.Linear(30, 30))
    to_onnx(network, "x", torch.randn(1, 4, 32), {0: "B"}, tmp_path / "full.onnx")
    quantise: Callable[[Path, Path], None] = partial(quantise_dynamic, operators=("MatMul", "Gemm"))
    quantise(tmp_path / "full.onnx", tmp_path / "small.onnx")
    kinds = {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    assert "Conv" in kinds
    assert "MatMulInteger" in kinds
    open_session(tmp_path / "small.onnx")
