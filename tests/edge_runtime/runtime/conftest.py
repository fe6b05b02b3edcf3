"""A bundle that answers, of tiny networks, and small media made on the spot."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
import soundfile
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from edge_runtime.bundle import Bundle, Calibration, FileEntry, FusionEntry, Manifest, Source
from edge_runtime.labels import LABEL_SETS
from edge_runtime.runtime import EdgeRuntime
from edge_runtime.runtime.probes import drawn_face, spoken
from edge_runtime.sample import Waveform

LABELS = LABEL_SETS["shared7"]
Maker = Callable[..., Path]


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


@pytest.fixture(scope="session")
def answering_bundle(make_bundle: Maker) -> Bundle:
    return Bundle.load(make_bundle(), trust=None)


@pytest.fixture
def runtime(answering_bundle: Bundle) -> Iterator[EdgeRuntime]:
    with EdgeRuntime.load(answering_bundle) as runtime:
        yield runtime


@pytest.fixture(scope="session")
def voice() -> Waveform:
    """Three seconds in which Silero hears somebody speak."""
    return spoken()


class Made:
    """Small media made on the spot."""

    face = staticmethod(drawn_face)

    @staticmethod
    def write_film(
        target: Path | BytesIO,
        images: list[NDArray[np.uint8]],
        sound: Waveform | None = None,
        rate_hz: int = 10,
        kind: str = "mp4",
    ) -> None:
        """A film with or without a sound track."""
        codec, sound_codec = {"mp4": ("mpeg4", "aac"), "webm": ("libvpx", "libopus")}[kind]
        with av.open(target if isinstance(target, BytesIO) else str(target), mode="w", format=kind) as container:
            stream = container.add_stream(codec, rate=Fraction(rate_hz))
            stream.height, stream.width = images[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            stream.bit_rate = 4_000_000
            track = None
            if sound is not None:
                track = container.add_stream(sound_codec, rate=48_000 if kind == "webm" else sound.sample_rate_hz)
                track.layout = "mono"
            for image in images:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            container.mux(stream.encode(None))
            if track is not None and sound is not None:
                frame = av.AudioFrame.from_ndarray(sound.samples[None], format="fltp", layout="mono")
                frame.sample_rate = sound.sample_rate_hz
                fitting = av.AudioResampler(track.format.name, "mono", track.rate, frame_size=track.frame_size or 960)
                for piece in (*fitting.resample(frame), *fitting.resample(None)):
                    container.mux(track.encode(piece))
                container.mux(track.encode(None))

    @staticmethod
    def write_sound(target: Path | BytesIO, sound: Waveform, kind: str = "WAV") -> None:
        soundfile.write(target, sound.samples, sound.sample_rate_hz, format=kind)

    @staticmethod
    def picture_bytes(image: NDArray[np.uint8], kind: str = "PNG") -> bytes:
        file = BytesIO()
        Image.fromarray(image).save(file, kind)
        return file.getvalue()


@pytest.fixture(scope="session")
def made() -> type[Made]:
    return Made
