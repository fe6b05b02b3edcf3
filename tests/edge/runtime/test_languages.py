"""A text in another language than the encoder's is answered with doubt, and the cloud is asked about it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.edge.encoders.test_language import FOREIGN
from tests.edge.runtime.test_cascade import Counting

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.bundle import Bundle, FileEntry, Manifest
from fedaffect.edge.cloud import connect
from fedaffect.server.models.bundling.packages import MINILM
from fedaffect.server.serving.app import background

POLISH = "Jestem dzisiaj bardzo smutny"


@pytest.fixture(scope="module")
def english_bundle(make_bundle) -> Bundle:
    """The tiny bundle with BERT's vocabulary; a made-up vector for each piece."""
    folder: Path = make_bundle(5, thresholds={"text": 0.4})
    tokenizer = next(MINILM.file(".").rglob("tokenizer.json"))
    (folder / "text.tokenizer.json").write_bytes(tokenizer.read_bytes())
    table = np.random.default_rng(0).normal(size=(30_522, 6)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["weights", "input_ids"], ["features"])],
        "tiny",
        [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ("B", "T"))],
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(table, "weights")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), folder / "text.onnx")
    manifest = Manifest.read(folder)
    text = replace(
        manifest.encoders["text"],
        network=FileEntry.of(folder / "text.onnx"),
        assets={"tokenizer": FileEntry.of(folder / "text.tokenizer.json")},
        preprocessing={"max_tokens": 32},
    )
    replace(manifest, encoders={**manifest.encoders, "text": text}).write(folder)
    return Bundle.load(folder, trust=None)


def test_another_language_lowers_confidence_and_says_so(english_bundle: Bundle, voice) -> None:
    with EdgeRuntime.load(english_bundle) as runtime:
        answer = runtime.predict(POLISH)
        assert answer.notes == (f"{FOREIGN}; it was used as it is",)
        assert answer.confidence <= 0.25 + 0.75 / len(runtime.labels) + 1e-9
        assert runtime.predict("I am so sad today").notes == ()
        both = runtime.predict(Sample(text=POLISH, audio=voice))
        assert both.modalities == ("audio",)
        assert both.notes == (f"text left out: {FOREIGN}",)
        (window,) = runtime.stream(text=POLISH, window_s=3.0, hop_s=3.0)
        assert window.notes == answer.notes


def test_the_cloud_is_asked_about_another_language(english_bundle: Bundle) -> None:
    with (
        background(Counting()) as server,
        EdgeRuntime.load(english_bundle, cloud=connect(f"grpc://{server.grpc_target}"), privacy="raw") as runtime,
    ):
        answer = runtime.predict(POLISH, deadline_ms=60_000)
    assert answer.source == "cloud", answer
    assert f"{FOREIGN}; it was used as it is" in answer.notes
