"""Bundles of a few kilobytes with a real fusion graph, signed; no torch needed to make one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from fedaffect.edge.bundle import (
    RUNTIME,
    Calibration,
    EncoderEntry,
    FileEntry,
    FusionEntry,
    Manifest,
    SigningKey,
    Source,
    Variant,
    sign,
)
from fedaffect.edge.labels import LABEL_SETS

WIDTHS = {"text": 4, "video": 3}
LABELS = LABEL_SETS["shared4"]

MakeBundle = Callable[..., Path]


def save_fusion(path: Path, seed: int) -> None:
    """Scores: for each modality the sum of its present tokens, projected; what is missing adds nothing."""
    rng = np.random.default_rng(seed)
    nodes, inputs, weights, parts = [], [], [numpy_helper.from_array(np.array([1]), "time")], []
    for m, width in WIDTHS.items():
        inputs.append(helper.make_tensor_value_info(m, TensorProto.FLOAT, ("B", f"T_{m}", width)))
        inputs.append(helper.make_tensor_value_info(f"{m}_present", TensorProto.BOOL, ("B", f"T_{m}")))
        weights.append(numpy_helper.from_array(rng.normal(size=(width, len(LABELS))).astype(np.float32), f"{m}_w"))
        nodes += [
            helper.make_node("Cast", [f"{m}_present"], [f"{m}_float"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{m}_float", "last"], [f"{m}_mask"]),
            helper.make_node("Mul", [m, f"{m}_mask"], [f"{m}_held"]),
            helper.make_node("ReduceSum", [f"{m}_held", "time"], [f"{m}_sum"], keepdims=0),
            helper.make_node("MatMul", [f"{m}_sum", f"{m}_w"], [f"{m}_scores"]),
        ]
        parts.append(f"{m}_scores")
    weights.append(numpy_helper.from_array(np.array([2]), "last"))
    nodes.append(helper.make_node("Sum", parts, ["scores"]))
    scores = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", len(LABELS)))
    graph = helper.make_graph(nodes, "fusion", inputs, [scores], weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def save_mean(path: Path, noise: float = 0.0) -> None:
    """A face encoder: the mean colour, plus a constant by which two precisions can be told apart."""
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["pixels"], ["mean"], axes=[2, 3], keepdims=0),
            helper.make_node("Add", ["mean", "noise"], ["features"]),
        ],
        "mean",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("B", 3, 8, 8))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ("B", 3))],
        [numpy_helper.from_array(np.array([noise], np.float32), "noise")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """A signed bundle in a new folder; ``seed`` makes its content its own."""

    def make(name: str = "bundle", seed: int = 0, key: SigningKey | None = None) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        save_fusion(folder / "fusion.onnx", seed)
        save_mean(folder / "video.onnx")
        save_mean(folder / "video.int8.onnx", 0.5)
        (folder / "text.onnx").write_bytes(b"opened by nobody here")
        made_up = Source("made up by a test")
        entries = {
            "text": EncoderEntry("text", FileEntry.of(folder / "text.onnx"), {}, 4, 0.0, "fp32", made_up, {}),
            "video": EncoderEntry(
                "video",
                FileEntry.of(folder / "video.onnx"),
                {},
                3,
                5.0,
                "fp16",
                made_up,
                {"size": 8, "mean": [0.0, 0.0, 0.0], "std": [255.0, 255.0, 255.0]},
                alternatives=(Variant(FileEntry.of(folder / "video.int8.onnx"), "int8"),),
            ),
        }
        fusion = FusionEntry(FileEntry.of(folder / "fusion.onnx"), WIDTHS, "fp32", made_up)
        calibration = Calibration({"text": 2.0, "text+video": 0.5}, {"text": 0.7})
        created = f"2026-01-01T00:00:{seed % 60:02}+00:00"
        Manifest("edge", "3", created, RUNTIME, entries, LABELS, fusion, calibration).write(folder)
        sign(folder, key or SigningKey.own())
        return folder

    return make
