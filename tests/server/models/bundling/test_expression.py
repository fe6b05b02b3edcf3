"""The face encoder's INT8 graph: small, in integers, true to torch, and indifferent to light as the network is."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.system.onnx_session import open_session
from fedaffect.server.models.bundling import vision
from fedaffect.server.models.bundling.expression import (
    LARGEST_BYTES,
    SETTINGS,
    as_feed,
    export_student_int8,
    is_trained,
)
from fedaffect.server.models.bundling.precision import operators
from fedaffect.server.models.bundling.vision import EXPRESSION, LITE0_WIDTH, _picture, draft_vision
from fedaffect.server.models.faces.network import SIZES, BothViews, ExpressionConfig, ExpressionNet
from fedaffect.server.models.faces.weights import STUDENT

SMALL = ExpressionConfig(stem=8, channels=(8, 12, 16), blocks=1)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([np.asarray(Image.fromarray(_picture(rng, 48)).convert("L")) for _ in range(24)])


@pytest.fixture(scope="module")
def network(faces: np.ndarray) -> ExpressionNet:
    """Random weights, with running statistics of real activations, as training would leave them."""
    torch.manual_seed(0)
    network = ExpressionNet(SMALL).train()
    with torch.no_grad():
        for _ in range(30):
            network(torch.from_numpy(np.concatenate([as_feed(face)["pixels"] for face in faces])))
    return network.eval()


@pytest.fixture(scope="module")
def small(network: ExpressionNet, faces: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("faces") / "trained" / "student.int8.onnx"
    export_student_int8(network, faces[:12], target)
    return target


def test_features_are_torchs_for_any_number_of_faces(small: Path, network: ExpressionNet, faces: np.ndarray) -> None:
    pixels = np.concatenate([as_feed(face)["pixels"] for face in faces[12:]])
    (ours,) = open_session(small).run(None, {"pixels": pixels})
    with torch.inference_mode():
        expected = BothViews(network)(torch.from_numpy(pixels)).numpy()
    assert ours.shape == expected.shape == (12, 16)
    # What all faces share would make any two graphs look alike: it is taken off before comparing.
    ours, expected = ours - expected.mean(axis=0), expected - expected.mean(axis=0)
    cosine = (ours * expected).sum() / np.linalg.norm(ours) / np.linalg.norm(expected)
    assert cosine > 0.97


def test_convolutions_are_in_integers_and_what_comes_before_is_not(small: Path, faces: np.ndarray) -> None:
    counts: Counter[str] = operators(small)
    assert counts["QLinearConv"] == 10
    assert counts["Conv"] == 0
    nodes = onnx.load(small).graph.node
    first = next(place for place, node in enumerate(nodes) if node.op_type == "Conv")
    quantised = {name for node in nodes if node.op_type == "QuantizeLinear" for name in node.input[:1]}
    before = {output for node in nodes[:first] for output in node.output if node.op_type in ("Sub", "Sqrt", "Add")}
    assert before
    assert not before & quantised
    session = open_session(small)
    bright = as_feed(faces[12])["pixels"]
    (one,), (other,) = (session.run(None, {"pixels": pixels}) for pixels in (bright, 0.5 * bright + 0.3))
    np.testing.assert_allclose(one, other, atol=0.15 * np.abs(one).max())


def test_the_students_graph_fits_a_device(faces: np.ndarray, tmp_path: Path) -> None:
    torch.manual_seed(0)
    export_student_int8(ExpressionNet(SIZES["student"]).eval(), faces[:2], tmp_path / "student.onnx")
    assert (tmp_path / "student.onnx").stat().st_size < LARGEST_BYTES


def test_what_is_too_large_or_no_face_is_refused(network: ExpressionNet, faces: np.ndarray, tmp_path: Path) -> None:
    for pictures in (faces[:0], faces[:2, :40], faces[:2].astype(np.float32)):
        with pytest.raises(DataError, match="uint8 faces"):
            export_student_int8(network, pictures, tmp_path / "x.onnx")
    wide = ExpressionNet(ExpressionConfig(stem=8, channels=(16, 32, 480), blocks=1)).eval()
    with pytest.raises(BundleError, match="make the network smaller"):
        export_student_int8(wide, faces[:1], tmp_path / "x.onnx")
    assert not (tmp_path / "x.onnx").exists()


def test_a_face_box_is_cropped_as_the_network_was_trained() -> None:
    assert (SETTINGS.size, SETTINGS.mean, SETTINGS.std) == (48, (0.0,) * 3, (255.0,) * 3)


@pytest.mark.slow
def test_without_trained_weights_the_packaged_network_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "is_trained", lambda: False)
    assert draft_vision(None, tmp_path).width == LITE0_WIDTH


@pytest.mark.skipif(not is_trained(), reason=f"{STUDENT.name} has not been trained here")
def test_the_trained_network_is_the_usual_face_encoder(tmp_path: Path) -> None:
    draft = draft_vision(None, tmp_path)
    assert draft.width == 176
    assert draft.settings == SETTINGS
    assert draft_vision(EXPRESSION, tmp_path).source == draft.source
