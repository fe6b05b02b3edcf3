from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper

from fedaffect.edge.bundle import Bundle, FileEntry, FusionEntry, Manifest, SigningKey, Source, sign
from fedaffect.edge.calibration.from_examples import predictions_of_examples
from fedaffect.edge.cli.calibrate import calibrate
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.labels import label_set
from fedaffect.edge.prediction import Prediction
from fedaffect.edge.store import Database, ExampleStore

LABELS = label_set("shared4")
WEIGHTS = np.random.default_rng(3).normal(size=(6, 4)).astype(np.float32)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Scores words by the mean of their tokens through a made-up matrix."""
    folder = shutil.copytree(tiny_bundle, tmp_path_factory.mktemp("scoring") / "bundle")
    nodes = [
        helper.make_node("ReduceMean", ["text"], ["mean"], axes=[1], keepdims=0),
        helper.make_node("MatMul", ["mean", "weights"], ["scores"]),
    ]
    inputs = [
        helper.make_tensor_value_info("text", TensorProto.FLOAT, ("B", "T", 6)),
        helper.make_tensor_value_info("text_present", TensorProto.BOOL, ("B", "T")),
    ]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ("B", 4))]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, [numpy_helper.from_array(WEIGHTS, "weights")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, folder / "fusion.onnx")
    fusion = FusionEntry(FileEntry.of(folder / "fusion.onnx"), {"text": 6}, "fp32", Source("made up by a test"))
    replace(Manifest.read(folder), label_set=LABELS, fusion=fusion).write(folder)
    sign(folder, SigningKey.own())
    return Bundle.load(folder)


def _add(store: ExampleStore, name: str, tokens: np.ndarray, key: str) -> None:
    answer = Prediction("joy", {"joy": 1.0}, 1.0, "edge", ("text",), 1.0, "v", "confident")
    store.add(name, {"text": tokens}, {"text": key}, answer)


def test_only_labelled_examples_with_consent_of_this_bundles_encoders_count(bundle: Bundle, tmp_path: Path) -> None:
    key = bundle.encoder("text").key
    rng = np.random.default_rng(0)
    kept = {name: rng.normal(size=(3, 6)).astype(np.float16) for name in ("a", "b")}
    with Database(tmp_path / "device.db") as database:
        store = ExampleStore(database)
        for name, tokens in kept.items():
            _add(store, name, tokens, key)
        for name in ("refused", "unknown", "silent"):
            _add(store, name, np.ones((2, 6), np.float16), key)
        _add(store, "older", np.ones((2, 6), np.float16), "another encoder")
        store.label("a", "sadness", consent=True)
        store.label("b", "excitement", consent=True)
        store.label("refused", "joy", consent=False)
        store.label("unknown", "disgust", consent=True)
        store.label("older", "joy", consent=True)
        found = predictions_of_examples(store, bundle)
    assert found.labels.tolist() == [LABELS.index("sadness"), LABELS.index("joy")], "excitement is filed under joy"
    assert found.subsets == ("text", "text")
    expected = np.stack([tokens.astype(np.float32).mean(axis=0) @ WEIGHTS for tokens in kept.values()])
    np.testing.assert_allclose(found.logits, expected, rtol=1e-5)
    assert found.cloud_logits is None


def test_nothing_to_learn_from_is_said(bundle: Bundle, tiny_bundle: Path, tmp_path: Path) -> None:
    with Database(tmp_path / "device.db") as database:
        with pytest.raises(DataError, match="needs a label, consent"):
            predictions_of_examples(ExampleStore(database), bundle)
        with pytest.raises(BundleError, match="predicts nothing"):
            predictions_of_examples(ExampleStore(database), Bundle.load(tiny_bundle))


def test_command_calibrates_on_what_the_device_keeps(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDAFFECT_DATA", str(tmp_path / "data"))
    folder = shutil.copytree(bundle.path, tmp_path / "bundle")
    key = bundle.encoder("text").key
    rng = np.random.default_rng(0)
    with Database() as database:
        store = ExampleStore(database)
        for place in range(60):
            _add(store, f"{place}", 4 * rng.normal(size=(2, 6)).astype(np.float16), key)
            store.label(f"{place}", LABELS.labels[int(rng.integers(4))], consent=True)
    arguments = ["--examples", "--bundle", str(folder), "--max-offloaded", "0.5"]
    result = CliRunner(env={"COLUMNS": "200"}).invoke(calibrate, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    calibration = Bundle.load(folder).manifest.calibration
    assert calibration.temperatures["text"] > 2, "labels by chance: the scores mean nothing"
    assert 0 < calibration.thresholds["text"] < 1
