"""Landmarks as features: where eyes, brows, lips and jaw are, whatever the size, place and lean of a face."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.edge.conftest import tiny_bundle

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.encoders.vision import VisionEncoder
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.alignment import similarity
from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.edge.sample import Frames
from fedaffect.server.models.bundling.packages import FACE_MESH
from fedaffect.simulation.preparing.landmarks import FaceMesh, FacesWithLandmarks, geometry, mean_face

__all__ = ["tiny_bundle"]


@pytest.mark.parametrize("points", [5, 68])
def test_a_mean_face_is_zero_wherever_it_is(points: int) -> None:
    face = (30 - 12j) * mean_face(points) + (200 + 90j)
    features = geometry([face, None], points, 0.0)
    assert features.shape == (2, 4 * points + 1)
    np.testing.assert_allclose(features[:, :-1], 0, atol=1e-5)
    assert features[:, -1].tolist() == [1, 0]


def test_a_mouth_that_opens_is_seen_and_so_is_how_fast() -> None:
    faces = [mean_face(68).copy() for _ in range(3)]
    for place, face in enumerate(faces):
        face[57] += 0.1j * place  # the middle of the lower lip
    x, y, dx, dy, held = np.split(geometry(faces, 68, 5.0), [68, 136, 204, 272], axis=1)
    np.testing.assert_allclose(y[:, 57], [0, 0.8, 1.6], atol=1e-5)
    np.testing.assert_allclose(dy[:, 57], 1.0, atol=1e-5)
    y[:, 57] = dy[:, 57] = 0
    assert max(np.abs(part).max() for part in (x, y, dx, dy)) < 1e-5
    assert held.all()


def test_a_clip_without_landmarks_is_zeros() -> None:
    assert not geometry([None, None], 5, 5.0).any()


@pytest.mark.parametrize("faces", ["detect", "whole"])
def test_landmarks_stand_beside_the_networks_features(tiny_bundle: Path, faces: str) -> None:
    encoder = Bundle.load(tiny_bundle, trust=None).encoder("video", faces=faces)
    assert isinstance(encoder, VisionEncoder)
    with_landmarks = FacesWithLandmarks(encoder, tiny_bundle / "video.face.onnx", 5)
    film = Frames(np.stack([drawn_face(), np.full_like(drawn_face(), 90), drawn_face(at=(150, 240))]), 5.0)
    (features,) = with_landmarks.encode([with_landmarks.prepare(film)])
    (plain,) = encoder.encode([encoder.prepare(film)])
    assert features.shape == (3, with_landmarks.width)
    np.testing.assert_array_equal(features[:, : encoder.width], plain)
    np.testing.assert_array_equal(features[:, -1], [1, 0, 1])
    # Drawn alike in two places.
    np.testing.assert_allclose(features[0, encoder.width : -11], features[2, encoder.width : -11], atol=1.0)
    assert with_landmarks.key != encoder.key


@pytest.mark.skipif(find_spec("mediapipe") is None, reason="the package of constraints-landmarks.txt is not installed")
def test_the_face_mesh_agrees_with_the_detector(tiny_bundle: Path, shared_data: Callable[[str], Path]) -> None:
    folder = shared_data("ravdess_av") / "frames_224_gray" / "01-01-01-01-01-01-01"
    images = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))[:3]])
    mesh, detector = FaceMesh(), FaceDetector(tiny_bundle / "video.face.onnx", 256, 0.5)
    for image, face in zip(images, detector.largest(images), strict=True):
        assert face is not None
        points = mesh.points(image, face)
        assert points is not None
        # Eyes, the tip of the nose, corners of the mouth.
        five = np.array([points[36:42].mean(), points[42:48].mean(), points[30], points[48], points[54]])
        k, m = similarity(face.points, five)
        apart = np.abs(k * np.array(face.points) + m - five) / abs(five[1] - five[0])
        assert apart.max() < 0.2


def test_another_file_is_no_face_mesh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = tmp_path / "face_landmark.tflite"
    monkeypatch.setattr(type(FACE_MESH), "file", lambda self, name: other)
    for content in (b"", b"noise of some length", bytes(400)):
        other.write_bytes(content)
        with pytest.raises(BundleError, match=r"is not the face mesh .*; install mediapipe again") as caught:
            FaceMesh()
        assert "\n" not in str(caught.value)


def test_more_landmarks_need_their_package(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fedaffect.server.models.bundling.packages.find_spec", lambda name: None)
    encoder = Bundle.load(tiny_bundle, trust=None).encoder("video")
    assert isinstance(encoder, VisionEncoder)
    with pytest.raises(BundleError, match=r"mediapipe.*constraints-landmarks\.txt"):
        FacesWithLandmarks(encoder, tiny_bundle / "video.face.onnx", 68)
