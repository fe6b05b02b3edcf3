from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fedaffect.edge.media.face import Face, FaceDetector, crop_boxes
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.sample import ZipMember

RAW_MEMBER = "FER2013Test/fer0032222.png"


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> FaceDetector:
    return FaceDetector(tiny_bundle / "video.face.onnx", side=256, threshold=0.5)


def test_finds_the_larger_of_two_real_faces(detector: FaceDetector, shared_data: Callable[[str], Path]) -> None:
    face = decode_video(ZipMember(shared_data("ferplus") / "FER2013Test.zip", RAW_MEMBER), 5.0, 1).images[0]
    scene = np.full((360, 480, 3), 128, np.uint8)
    scene[40:200, 250:410] = np.asarray(Image.fromarray(face).resize((160, 160)))
    scene[220:290, 40:110] = np.asarray(Image.fromarray(face).resize((70, 70)))
    (face,) = detector.largest(scene[None])
    assert face is not None
    box = face.box
    centre = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    assert centre == pytest.approx((330, 120), abs=30)
    assert 80 < box[2] - box[0] < 190


def test_pictures_of_any_shape_and_number(detector: FaceDetector) -> None:
    for shape in ((3, 48, 48, 3), (1, 100, 300, 3), (11, 33, 17, 3)):
        assert detector.largest(np.full(shape, 90, np.uint8)) == [None] * shape[0]


def test_crops_are_square_with_a_margin() -> None:
    assert crop_boxes([Face((10.0, 20.0, 30.0, 60.0), 40.0)], 100, 100, 0.5) == [Face((-10.0, 10.0, 50.0, 70.0), 40.0)]


def test_frames_without_a_face_borrow_the_nearest() -> None:
    one, two = Face((0.0, 0.0, 10.0, 10.0)), Face((50.0, 50.0, 60.0, 60.0), 90.0)
    boxes = crop_boxes([None, one, None, two, None], 100, 100, 0.0)
    assert boxes == [one, one, one, two, two]


def test_clips_without_a_face_take_the_centre() -> None:
    assert crop_boxes([None], 60, 100, 0.3) == [Face((20.0, 0.0, 80.0, 60.0))]
