"""A bundle of tiny networks that needs no torch to make: real formats, real preprocessing, made-up weights."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from fedaffect.edge.bundle import (
    RUNTIME,
    Calibration,
    EncoderEntry,
    FileEntry,
    FusionEntry,
    Manifest,
    SigningKey,
    Source,
    sign,
)
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.encoders.text import TextSettings
from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.server.models.bundling.centerface import free_centerface
from fedaffect.server.models.bundling.packages import CENTERFACE, SILERO
from fedaffect.server.models.bundling.speech import VOICE_FILE

LABELS = LABEL_SETS["shared7"]
Maker = Callable[..., Path]
WORDS = ("[UNK]", "i", "am", "so", "happy", "sad", "today", "you")
MORE_WORDS = ("really", "did", "not", "think")


def _save(
    path: Path, node: onnx.NodeProto, kind: int, shape: tuple[str | int, ...], weights: np.ndarray | None
) -> None:
    inputs = [
        helper.make_tensor_value_info(node.input[0 if weights is None or node.op_type != "Gather" else 1], kind, shape)
    ]
    outputs = [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)]
    initializers = [] if weights is None else [numpy_helper.from_array(weights, "weights")]
    graph = helper.make_graph([node], "tiny", inputs, outputs, initializers)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


def make_tiny_bundle(folder: Path) -> Path:
    """Text gathers rows of a table, audio is a projection of the log-mel, video the mean colour."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    table = rng.normal(size=(len(WORDS), 6)).astype(np.float32)
    table = np.concatenate([table, table[: len(MORE_WORDS)] / 2])
    _save(
        folder / "text.onnx",
        helper.make_node("Gather", ["weights", "input_ids"], ["features"]),
        TensorProto.INT64,
        ("B", "T"),
        table,
    )
    mel = rng.normal(size=(4, 80, 1)).astype(np.float32)
    conv = helper.make_node("Conv", ["log_mel", "weights"], ["bands_first"])
    turn = helper.make_node("Transpose", ["bands_first"], ["features"], perm=[0, 2, 1])
    graph = helper.make_graph(
        [conv, turn],
        "tiny",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ("B", 80, "T"))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(mel, "weights")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), folder / "audio.onnx"
    )
    mean = helper.make_node("ReduceMean", ["pixels"], ["features"], axes=[2, 3], keepdims=0)
    _save(folder / "video.onnx", mean, TensorProto.FLOAT, ("B", 3, 16, 16), None)
    tokenizer = Tokenizer(WordLevel({word: place for place, word in enumerate(WORDS + MORE_WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "text.tokenizer.json"))
    shutil.copyfile(SILERO.file(VOICE_FILE), folder / "audio.voice.onnx")
    free_centerface(CENTERFACE.file("centerface.onnx"), folder / "video.face.onnx")
    about = {
        "text": (TextSettings(max_tokens=5), "tokenizer", "text.tokenizer.json", 6, 0.0),
        "audio": (SpeechSettings("log_mel", frames_per_second=100.0), "voice", "audio.voice.onnx", 8, 2.5),
        "video": (VisionSettings(16, (0.0,) * 3, (255.0,) * 3), "face", "video.face.onnx", 3, 5.0),
    }
    entries = {
        modality: EncoderEntry(
            modality=modality,
            network=FileEntry.of(folder / f"{modality}.onnx"),
            assets={role: FileEntry.of(folder / file)},
            width=width,
            tokens_per_second=rate,
            precision="fp32",
            source=Source("made up by a test"),
            preprocessing=asdict(settings),
            latency_ms={"fp32": 1.0},
        )
        for modality, (settings, role, file, width, rate) in about.items()
    }
    Manifest("edge", "1", "2026-01-01T00:00:00+00:00", RUNTIME, entries).write(folder)
    sign(folder, SigningKey.own())
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tmp_path_factory: pytest.TempPathFactory, _own_folders: None) -> Path:
    return make_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


def write_fusion(path: Path, widths: dict[str, int], seed: int) -> None:
    """Scores are the masked mean of each modality's tokens through a made-up matrix, all added."""
    rng = np.random.default_rng(seed)
    nodes, inputs, constants, parts = [], [], [numpy_helper.from_array(np.array([1]), "time")], []
    constants.append(numpy_helper.from_array(np.array([2]), "last"))
    for m, width in widths.items():
        inputs.append(helper.make_tensor_value_info(m, TensorProto.FLOAT, ("B", f"T_{m}", width)))
        inputs.append(helper.make_tensor_value_info(f"{m}_present", TensorProto.BOOL, ("B", f"T_{m}")))
        weights = rng.normal(size=(width, len(LABELS))).astype(np.float32)
        constants.append(numpy_helper.from_array(weights, f"{m}_weights"))
        nodes += [
            helper.make_node("Cast", [f"{m}_present"], [f"{m}_flat"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", [f"{m}_flat", "last"], [f"{m}_mask"]),
            helper.make_node("Mul", [m, f"{m}_mask"], [f"{m}_kept"]),
            helper.make_node("ReduceMean", [f"{m}_kept"], [f"{m}_mean"], axes=[1], keepdims=0),
            helper.make_node("MatMul", [f"{m}_mean", f"{m}_weights"], [f"{m}_scores"]),
        ]
        parts.append(f"{m}_scores")
    nodes.append(helper.make_node("Sum", parts, ["scores"]))
    constants = [c for c in constants if c.name != "time"]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", len(LABELS)))]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture(scope="session")
def make_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Maker:
    """Makes the tiny bundle with a fusion of a seed of its own."""

    def make(
        seed: int = 0,
        modalities: tuple[str, ...] = ("text", "audio", "video"),
        thresholds: Mapping[str, float] | None = None,
    ) -> Path:
        folder = tmp_path_factory.mktemp("answering") / f"bundle{seed}"
        shutil.copytree(tiny_bundle, folder)
        manifest = Manifest.read(folder)
        widths = {m: manifest.encoders[m].width for m in modalities}
        write_fusion(folder / "fusion.onnx", widths, seed)
        fusion = FusionEntry(FileEntry.of(folder / "fusion.onnx"), widths, "fp32", Source("made up by a test"))
        calibration = Calibration({"text": 2.0}, thresholds or {})
        replace(manifest, fusion=fusion, label_set=LABELS, calibration=calibration, version=f"t{seed}").write(folder)
        return folder

    return make
