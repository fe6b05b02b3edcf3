"""Faces cut out by their landmarks: eyes, nose and mouth lie where the template has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedaffect.edge.encoders.base import read_settings, written_settings
from fedaffect.edge.encoders.vision import VisionSettings, prepare_frames
from fedaffect.edge.media.alignment import aligned, similarity, template
from fedaffect.edge.media.face import Face, FaceDetector
from fedaffect.edge.runtime.faces import find_faces, where
from fedaffect.edge.sample import Frames

BOXES = VisionSettings(224, (0.0,) * 3, (255.0,) * 3)
ALIGNED = replace(BOXES, align=True)


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> FaceDetector:
    return FaceDetector(tiny_bundle / "video.face.onnx", side=256, threshold=0.5)


@pytest.fixture(scope="module")
def film(shared_data: Callable[[str], Path]) -> np.ndarray:
    folder = shared_data("ravdess_av") / "frames_224_gray" / "01-01-01-01-01-01-01"
    return np.stack([np.asarray(Image.open(path).convert("RGB")) for path in sorted(folder.glob("*.jpg"))])


def test_a_similarity_is_found_again() -> None:
    points = np.array([1 + 2j, -3 + 0.5j, 4 - 1j])
    k, m = similarity(points, (0.5 - 2j) * points + (7 - 3j))
    assert (k, m) == (pytest.approx(0.5 - 2j), pytest.approx(7 - 3j))
    assert similarity([3 + 1j] * 3, points)[0] == 0


def test_an_aligned_face_keeps_its_margin() -> None:
    tight, wide = template(112, 0.0), template(112, 0.5)
    assert tight[0] == pytest.approx(38.2946 + 51.6963j)
    np.testing.assert_allclose(wide - (56 + 56j), (tight - (56 + 56j)) / 1.5)


@pytest.mark.parametrize(("scale", "degrees"), [(0.5, 0), (1.0, 25), (4.5, -40)])
def test_marks_land_on_the_template(scale: float, degrees: float) -> None:
    goal, turn = template(96, 0.2), scale * np.exp(1j * np.radians(degrees))
    points = (goal - (48 + 48j)) * turn + (320 + 240j)
    rows, columns = np.mgrid[:480, :640]
    for mark, place in zip(points, goal, strict=True):
        bright = np.abs(columns + 0.5 + 1j * (rows + 0.5) - mark) < 4 * scale
        picture = aligned(np.repeat(255 * bright[..., None], 3, 2).astype(np.uint8), tuple(points), 96, 0.2)
        y, x = np.average(np.argwhere(picture[..., 0] > 127), axis=0) + 0.5
        assert abs(complex(x, y) - place) < 0.6


@pytest.mark.parametrize("degrees", [0, -25, 40, 90])
def test_real_faces_land_on_the_template_however_they_lean(
    detector: FaceDetector, film: np.ndarray, degrees: int
) -> None:
    turned = np.stack([np.asarray(Image.fromarray(image).rotate(degrees, fillcolor=(255,) * 3)) for image in film[:4]])
    found = [detector.upright(image) for image in turned]
    goal = template(224, ALIGNED.face_margin)

    def missed(settings: VisionSettings) -> float:
        """Pixels of 224 between the landmarks of what the network sees and the template, median."""
        shown = prepare_frames(Frames(turned), found, settings).values
        again = [face for face in detector.largest(shown) if face is not None and face.points]
        assert len(again) == len(shown)
        return float(np.median([np.abs(np.array(face.points) - goal) for face in again]))

    assert missed(ALIGNED) < 7
    assert missed(BOXES) > 10


def test_a_face_that_fills_the_picture_is_aligned_too(detector: FaceDetector, film: np.ndarray) -> None:
    crop = prepare_frames(Frames(film[:1]), detector.largest(film[:1]), BOXES).values[0]
    assert find_faces(Frames(crop[None]), detector, BOXES).faces is None
    assert find_faces(Frames(crop[None]), detector, ALIGNED).faces is not None


def test_without_landmarks_the_box_is_taken() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    for found in ([None], [Face((10.0, 10.0, 30.0, 30.0))]):
        one, other = (prepare_frames(Frames(image[None]), found, settings).values for settings in (ALIGNED, BOXES))
        assert np.array_equal(one, other)
    assert where([Face((0.0, 0.0, 9.0, 9.0))], 9, 9, ALIGNED).faces is not None


def test_landmarks_move_with_their_face() -> None:
    face = Face((0.0, 0.0, 10.0, 10.0), 5.0, (1 + 2j, 3 + 4j))
    assert face.moved((2.0, -1.0, 12.0, 9.0)) == Face((2.0, -1.0, 12.0, 9.0), 5.0, (3 + 1j, 5 + 3j))


def test_what_does_not_align_is_written_and_named_as_ever() -> None:
    assert "align" not in written_settings(BOXES)
    assert written_settings(ALIGNED) == {**written_settings(BOXES), "align": True}
    for settings in (BOXES, ALIGNED):
        assert read_settings(VisionSettings, written_settings(settings), "a bundle") == settings
