"""Faces that lie or lean are seen as if they stood upright; those that stand are cut out as ever."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from fedaffect.edge.encoders.vision import VisionSettings, prepare_frames
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.face import FaceDetector
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.media.turning import turned, turned_back
from fedaffect.edge.runtime.faces import find_faces
from fedaffect.edge.runtime.probes import drawn_face
from fedaffect.edge.sample import Frames, ZipMember

SETTINGS = VisionSettings(48, (0.0,) * 3, (255.0,) * 3, face_margin=0.1)
REAL = range(32_222, 32_234)


@pytest.fixture(scope="module")
def detector(tiny_bundle: Path) -> FaceDetector:
    return FaceDetector(tiny_bundle / "video.face.onnx", side=256, threshold=0.5)


@pytest.fixture(scope="module")
def crops(shared_data: Callable[[str], Path]) -> list[np.ndarray]:
    """Real faces of 48 x 48 pixels."""
    archive = shared_data("ferplus") / "FER2013Test.zip"
    names = {f"FER2013Test/fer{number:07}.png" for number in REAL} & {*ZipFile(archive).namelist()}
    return [decode_video(ZipMember(archive, name), 5.0, 1).images[0] for name in sorted(names)]


def scene_of(crop: np.ndarray) -> np.ndarray:
    scene = np.full((240, 320, 3), 128, np.uint8)
    scene[60:180, 100:220] = np.asarray(Image.fromarray(crop).resize((120, 120), Image.Resampling.BICUBIC))
    return scene


def leaning(image: np.ndarray, degrees: float) -> np.ndarray:
    """Counterclockwise."""
    if degrees % 90 == 0:
        return np.ascontiguousarray(np.rot90(image, int(degrees) // 90))
    picture = Image.fromarray(image).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor=(128,) * 3)
    return np.asarray(picture)


def shown(image: np.ndarray, detector: FaceDetector) -> np.ndarray:
    """What the face network sees, (48, 48)."""
    frames = Frames(image[None])
    found = find_faces(frames, detector, SETTINGS)
    return prepare_frames(found.upright(frames), found.faces, SETTINGS).values[0, :, :, 0].astype(np.float64)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.corrcoef(one.ravel(), other.ravel())[0, 1])


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_picture_that_lies_is_seen_as_if_it_stood(detector: FaceDetector, crops, degrees: int) -> None:
    same = [np.array_equal(shown(leaning(crop, degrees), detector), shown(crop, detector)) for crop in crops]
    assert np.mean(same) >= 0.7, same
    scenes = [scene_of(crop) for crop in crops]
    alike = [likeness(shown(leaning(scene, degrees), detector), shown(scene, detector)) for scene in scenes]
    assert np.quantile(alike, 0.25) > 0.99, alike


@pytest.mark.parametrize("degrees", [-45, 40, 60, 120])
def test_a_face_that_leans_is_seen_as_if_it_stood(detector: FaceDetector, crops, degrees: int) -> None:
    alike = [
        likeness(shown(leaning(scene_of(crop), degrees), detector), shown(scene_of(crop), detector)) for crop in crops
    ]
    assert np.median(alike) > 0.5, alike


def test_a_drawn_face_that_lies(detector: FaceDetector) -> None:
    upright = shown(drawn_face(), detector)
    for degrees in (90, 180, 270):
        assert likeness(shown(leaning(drawn_face(), degrees), detector), upright) > 0.9, degrees


def test_what_stands_is_cut_out_as_ever(detector: FaceDetector, crops) -> None:
    def is_same(image: np.ndarray) -> bool:
        return detector.upright(image) == detector.largest(image[None])[0]

    assert is_same(drawn_face())
    assert is_same(leaning(drawn_face(), 10))
    # Some people do lean.
    assert np.mean([is_same(image) for image in (*crops, *map(scene_of, crops))]) >= 0.8


def test_a_film_whose_maker_lay_on_their_side(detector: FaceDetector) -> None:
    images = np.stack([leaning(drawn_face(at=(120, 200 + 4 * place)), 90) for place in range(10)])
    found = find_faces(Frames(images, 5.0), detector, SETTINGS)
    assert {face.lean for face in found.faces or () if face} == {270.0}
    assert found.looks <= 3
    seen = prepare_frames(Frames(images, 5.0), found.faces, SETTINGS).values[:, :, :, 0].astype(np.float64)
    assert min(likeness(picture, shown(drawn_face(), detector)) for picture in seen) > 0.8


def test_a_picture_without_a_face_has_none_in_any_turn(detector: FaceDetector) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert detector.upright(noise) is None
    with pytest.raises(DataError, match="no face was found"):
        find_faces(Frames(noise[None]), detector, SETTINGS)


@pytest.mark.parametrize("quarter", range(4))
def test_quarter_turns_move_pixels_and_places_alike(quarter: int) -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    box = (10.0, 4.0, 26.0, 20.0)
    upright, place = turned(image, box, 90.0 * quarter)
    left, top, right, bottom = map(round, place)
    np.testing.assert_array_equal(upright[top:bottom, left:right], np.rot90(image[4:20, 10:26], quarter))
    assert turned_back(place, quarter, 40, 60) == box


def test_a_region_turns_about_its_centre() -> None:
    image = np.zeros((100, 100, 3), np.uint8)
    # A bar that leans clockwise by 30 degrees, through a point off the middle.
    rows, columns = np.mgrid[:100, :100]
    along = (columns - 40) * np.sin(np.radians(30)) - (rows - 60) * np.cos(np.radians(30))
    across = (columns - 40) * np.cos(np.radians(30)) + (rows - 60) * np.sin(np.radians(30))
    image[(np.abs(across) < 3) & (np.abs(along) < 20)] = 255
    upright, (left, top, right, bottom) = turned(image, (20.0, 40.0, 60.0, 80.0), 30.0)
    bright = np.argwhere(upright[:, :, 0] > 128)
    assert bright.mean(axis=0) == pytest.approx(((top + bottom) / 2, (left + right) / 2), abs=1)
    assert np.ptp(bright[:, 1]) < 8
    assert np.ptp(bright[:, 0]) > 34


def test_a_face_knows_how_it_leans(detector: FaceDetector, crops) -> None:
    for degrees in (35, -35):
        faces = [detector.upright(leaning(scene_of(crop), degrees)) for crop in crops]
        leans = [(face.lean + 180) % 360 - 180 for face in faces if face is not None]
        assert np.median(leans) == pytest.approx(-degrees, abs=8)
