from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.media.face_track import FaceTrack
from fedaffect.edge.runtime.probes import drawn_face


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> FaceDetector:
    return FaceDetector(tiny_bundle / "video.face.onnx", side=256, threshold=0.5)


def test_a_face_that_moves_is_followed(detector: FaceDetector) -> None:
    track = FaceTrack(detector)
    for place in range(12):
        left = 100 + 12 * place
        face = track.follow(drawn_face(at=(120, left)), place / 5)
        assert face is not None
        assert (face.box[0] + face.box[2]) / 2 == pytest.approx(left + 55, abs=25)
    assert track.looks == 3


def test_a_face_that_keeps_still_costs_one_look_a_second(detector: FaceDetector) -> None:
    track, image = FaceTrack(detector), drawn_face()
    boxes = {track.follow(image, place / 5) for place in range(11)}
    assert len(boxes) == 1
    assert track.looks == 3


def test_a_face_that_leaves_is_missed_and_found_again(detector: FaceDetector) -> None:
    track, empty = FaceTrack(detector), np.full((480, 640, 3), 120, np.uint8)
    assert track.follow(drawn_face(), 0.0) is not None
    assert track.follow(empty, 0.2) is None
    assert track.follow(empty, 0.4) is None
    assert track.follow(drawn_face(), 0.6) is not None


def test_pictures_of_another_size_are_looked_at_anew(detector: FaceDetector) -> None:
    track = FaceTrack(detector)
    assert track.follow(drawn_face(), 0.0) is not None
    assert track.follow(drawn_face()[:448], 0.1) is not None
    assert track.looks == 2


def test_a_face_that_jumps_is_looked_for(detector: FaceDetector) -> None:
    track = FaceTrack(detector)
    track.follow(drawn_face(at=(120, 200)), 0.0)
    face = track.follow(drawn_face(at=(120, 440)), 0.2)
    assert track.looks == 2
    assert face is None or face.box[0] > 400
