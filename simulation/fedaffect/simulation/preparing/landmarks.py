"""Faces by a network and by their landmarks, after Kamble et al. (section III-B): eyes, brows, lips and jaw.

Five points are the face detector's own. 68 are those of MediaPipe's face mesh that lie where iBUG 300-W's marks do
(Sagonas et al., 2013): 17 of the jaw, five of each brow, nine of the nose, six of each eye, twenty of the lips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.base import Prepared, key_of
from fedaffect.edge.encoders.vision import VisionEncoder, prepare_frames
from fedaffect.edge.media.alignment import aligned, template
from fedaffect.edge.media.face import Face, FaceDetector
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.system.onnx_session import open_session

_EDITION: Final = 1
# Around the face, as the mesh was trained to see it, and its side; the logit from which it says that it sees one.
_MARGIN: Final = 0.5
_PRESENT: Final = 0.0
# The mesh's points that are iBUG's, in iBUG's order.
_IBUG: Final = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
# Where they lie on average, in hundredths of the distance of the eyes: of 143 pictures of FairFace.
_MEAN: Final = """
-110-24j -109+21j -107+44j -96+94j -86+115j -75+130j -48+153j -20+167j -1+169j 19+167j 46+153j 73+130j 84+115j
94+94j 106+45j 108+22j 110-23j -98-34j -80-36j -65-40j -46-39j -23-36j 24-36j 46-39j 65-40j 80-36j 98-33j 0-7j
0+18j 0+39j 0+52j -20+65j -12+71j 0+71j 12+71j 20+65j -71-1j -60-6j -43-6j -27+2j -41+5j -57+5j 27+2j 43-6j
60-6j 71-1j 57+5j 41+5j -41+103j -25+93j -12+90j 0+92j 12+90j 24+93j 40+103j 22+119j 12+123j 0+124j -13+123j
-23+119j -36+102j -10+101j 0+101j 9+101j 34+102j 9+109j 0+110j -10+109j
"""
# Which points are the eye that stands left in the picture, and the right one.
_EYES: Final = {5: (slice(0, 1), slice(1, 2)), 68: (slice(36, 42), slice(42, 48))}
# What takes differences of faces to about deviation 1: positions, and changes a second.
_POSITION_SCALE, _CHANGE_SCALE = 8.0, 2.0

# Where a face's landmarks are in a picture, complex (P,); None where they cannot be told.
Finder: TypeAlias = Callable[[NDArray[np.uint8], Face], NDArray[np.complex128] | None]


@dataclass(frozen=True, slots=True)
class _WithLandmarks(Prepared):
    """Pictures, and features of the landmarks, (N, 4 P + 1)."""

    landmarks: NDArray[np.float32] = field(kw_only=True)


class FacesWithLandmarks:
    """A face network's features with landmarks beside them; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    encoder : VisionEncoder
        The network; where it takes pictures whole, so does this, and landmarks are sought in them all the same.
    detector : Path
        CenterFace with free dimensions.
    points : {5, 68}
        How many landmarks; 68 need the package of MediaPipe's face mesh.

    Raises
    ------
    BundleError
        If that package is not installed.
    """

    modality = "video"

    def __init__(self, encoder: VisionEncoder, detector: Path, points: int) -> None:
        settings = encoder.settings
        self._encoder, self._points = encoder, points
        self._detector = FaceDetector(detector, settings.face_side, settings.face_threshold)
        self._find: Finder = five_points if points == 5 else FaceMesh().points
        self.width = encoder.width + 4 * points + 1
        self.tokens_per_second = encoder.tokens_per_second
        about = {"edition": _EDITION, "points": points, "side": settings.face_side, "heat": settings.face_threshold}
        self.key = key_of({"encoder": encoder.key}, about)

    def prepare(self, source: Any) -> Prepared:
        """As the network's encoder, with the landmarks of each frame.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        settings = self._encoder.settings
        frames = decode_video(source, settings.frames_per_second, settings.max_frames)
        found = self._detector.largest(frames.images)
        pictures = prepare_frames(frames, None if self._encoder.detector is None else found, settings)
        there = [
            None if face is None else self._find(image, face) for image, face in zip(frames.images, found, strict=True)
        ]
        features = geometry(there, self._points, frames.frames_per_second)
        return _WithLandmarks(pictures.values, pictures.seconds, landmarks=features)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """One vector a frame of each clip, shape (N_i, width)."""
        seen = self._encoder.encode(batch)
        landmarks = [cast(_WithLandmarks, each).landmarks for each in batch]
        return [np.concatenate(both, axis=1) for both in zip(seen, landmarks, strict=True)]


def five_points(image: NDArray[np.uint8], face: Face) -> NDArray[np.complex128] | None:
    """The detector's landmarks of a face."""
    return np.array(face.points) if face.points else None


class FaceMesh:
    """68 landmarks by MediaPipe's face mesh.

    Raises
    ------
    BundleError
        If its package is not installed.
    """

    def __init__(self) -> None:
        # Here, not above: onnx is needed by nothing else of a simulation.
        from fedaffect.server.models.bundling import face_mesh

        with TemporaryDirectory(prefix="fedaffect-") as folder:
            path = Path(folder) / "face_mesh.onnx"
            face_mesh.write_face_mesh(path)
            self._session = open_session(path)
        self._names, self._side = [face_mesh.LANDMARKS, face_mesh.PRESENCE], face_mesh.SIDE

    def points(self, image: NDArray[np.uint8], face: Face) -> NDArray[np.complex128] | None:
        """Landmarks in pixels of an aligned picture of the face, complex (68,); None where it sees none."""
        if not face.points:
            return None
        picture = aligned(image, face.points, self._side, _MARGIN)
        pixels = np.ascontiguousarray(picture.transpose(2, 0, 1)[None] / np.float32(255))
        landmarks, presence = self._session.run(self._names, {"pixels": pixels.astype(np.float32)})
        if presence[0, 0] < _PRESENT:
            return None
        mesh = landmarks[0].reshape(-1, 3)[list(_IBUG)].astype(np.float64)
        points: NDArray[np.complex128] = mesh[:, 0] + 1j * mesh[:, 1]
        return points


def geometry(found: Sequence[NDArray[np.complex128] | None], points: int, frames_per_second: float) -> NDArray[Any]:
    """Landmarks as features: where they lie against the middle of the eyes, and how they move.

    Positions are in distances of the eyes, with the eyes level, so that neither where a face is nor how large it is nor
    how it leans is in them, and are taken from those of a mean face. Changes are central differences a second. A frame
    without landmarks takes the nearest one's.

    Parameters
    ----------
    found : sequence of complex array, shape (P,), or None
        Of each frame, x + iy in any plane picture of the face.
    points : {5, 68}
        P.
    frames_per_second : float
        0 for a still picture.

    Returns
    -------
    float32 array, shape (N, 4 P + 1)
        x and y of each point, their changes, and whether the frame had landmarks of its own; zeros where no frame had.
    """
    held = np.array([each is not None for each in found])
    if not held.any():
        return np.zeros((len(found), 4 * points + 1), np.float32)
    own = np.flatnonzero(held)
    nearest = own[np.abs(np.arange(len(found))[:, None] - own).argmin(axis=1)]
    placed = np.stack([_levelled(each, points) for place in nearest if (each := found[place]) is not None])  # (N, P)
    changes = np.gradient(placed, axis=0) * frames_per_second if len(placed) > 1 else np.zeros_like(placed)
    shown = (placed - mean_face(points)) * _POSITION_SCALE, changes * _CHANGE_SCALE
    parts = [part for values in shown for part in (values.real, values.imag)]
    return np.concatenate([*parts, held[:, None]], axis=1).astype(np.float32)


def _levelled(points: NDArray[np.complex128], count: int) -> NDArray[np.complex128]:
    left, right = (points[eye].mean() for eye in _EYES[count])
    level: NDArray[np.complex128] = (points - (left + right) / 2) / ((right - left) or 1)
    return level


def mean_face(points: int) -> NDArray[np.complex128]:
    """Where the landmarks of a mean face lie, in distances of the eyes: of five the template's, of 68 measured.

    Parameters
    ----------
    points : {5, 68}
    """
    if points == 5:
        return _levelled(template(1, 0.0), points)
    return _levelled(np.array([complex(place) for place in _MEAN.split()]), points)
