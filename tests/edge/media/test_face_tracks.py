from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.media.face_tracks import FaceTracks
from fedaffect.edge.runtime.probes import drawn_face


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> FaceDetector:
    return FaceDetector(tiny_bundle / "video.face.onnx", side=256, threshold=0.5)


def both(left: int, right: int) -> NDArray[np.uint8]:
    """Two drawn faces in one picture, (480, 640, 3)."""
    return np.concatenate([drawn_face(at=(120, left))[:, :320], drawn_face(at=(120, right))[:, 320:]], axis=1)


def test_each_face_keeps_its_id_while_it_moves(detector: FaceDetector) -> None:
    tracks = FaceTracks(detector)
    for place in range(15):
        found = tracks.follow(both(20 + 10 * place, 500 - 10 * place), place / 10)
        centres = {one.id: (one.face.box[0] + one.face.box[2]) / 2 for one in found}
        assert set(centres) == {1, 2}
        first, second = sorted(centres.values())
        assert first == pytest.approx(75 + 10 * place, abs=25)
        assert second == pytest.approx(555 - 10 * place, abs=25)


def test_who_is_hidden_for_a_moment_keeps_the_id_and_who_comes_anew_gets_another(detector: FaceDetector) -> None:
    tracks, empty = FaceTracks(detector), np.full((480, 640, 3), 120, np.uint8)
    assert [one.id for one in tracks.follow(drawn_face(), 0.0)] == [1]
    assert tracks.follow(empty, 0.5) == []
    assert [one.id for one in tracks.follow(drawn_face(), 1.0)] == [1]
    assert tracks.follow(empty, 1.5) == []
    assert [one.id for one in tracks.follow(drawn_face(), 4.0)] == [2]


def test_a_second_face_is_seen_within_half_a_second(detector: FaceDetector) -> None:
    tracks = FaceTracks(detector)
    assert [one.id for one in tracks.follow(drawn_face(at=(120, 100)), 0.0)] == [1]
    assert [one.id for one in tracks.follow(both(100, 400), 0.3)] == [1]
    assert sorted(one.id for one in tracks.follow(both(100, 400), 0.5)) == [1, 2]


def test_who_jumps_farther_than_a_face_is_wide_keeps_the_id_and_who_looks_otherwise_gets_another(
    detector: FaceDetector,
) -> None:
    tracks = FaceTracks(detector)
    assert [one.id for one in tracks.follow(drawn_face(at=(60, 40)), 0.0)] == [1]
    (jumped,) = tracks.follow(drawn_face(at=(200, 440)), 0.2)
    assert jumped.id == 1
    assert jumped.face.box[0] > 400
    assert [one.id for one in tracks.follow(other_face(at=(60, 40)), 0.4)] == [2]


def other_face(at: tuple[int, int]) -> NDArray[np.uint8]:
    """The drawn face with its other side dark."""
    image = drawn_face(at=at).copy()
    top, left = at
    image[top : top + 200, left : left + 80] //= 3
    return image
