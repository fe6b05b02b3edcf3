"""Which part of a picture an app means by a face."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.encoders.vision import VisionSettings
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.face import Face, FaceDetector
from fedaffect.edge.media.face_track import FaceTrack
from fedaffect.edge.sample import Frames

# FER's crops, 48 pixels a side, hold a box of 0.92 of their side (median; 0.76 at the fifth percentile).
_FILLS: Final = 0.9
_SQUARE: Final = 1.25
_SMALL: Final = 128

# Levels of a colour, of 255, that a picture with anything on it spreads over.
_SPREAD: Final = 3.0

BLANK = "the picture is blank"
WHOLE = "no face was found in the picture; it was taken whole, as if it were one"


@dataclass(frozen=True, slots=True)
class Found:
    """Where the faces of a clip are.

    Parameters
    ----------
    faces : sequence of Face or None, optional
        One a frame; None altogether where the pictures are faces already and are taken whole.
    notes : tuple of str
        What the caller should know.
    looks : int
        How often a face was looked for.
    quarter : int
        Quarter turns, counterclockwise, after which pictures that are taken whole stand upright.
    """

    faces: Sequence[Face | None] | None
    notes: tuple[str, ...] = ()
    looks: int = 0
    quarter: int = 0

    def upright(self, frames: Frames) -> Frames:
        """The frames, turned where they are taken whole and lie on their side or head."""
        return replace(frames, images=np.rot90(frames.images, self.quarter, (1, 2))) if self.quarter else frames


def find_faces(frames: Frames, detector: FaceDetector | None, settings: VisionSettings) -> Found:
    """The largest face of each frame.

    A picture that is a face already is taken whole: a square one that the face fills, and a small or still square one
    in which no face is found, since detectors miss faces that are cut tightly.

    Parameters
    ----------
    frames : Frames
        Decoded.
    detector : FaceDetector or None
        None takes every picture whole.
    settings : VisionSettings
        The encoder's.

    Raises
    ------
    DataError
        If no frame shows a face.
    """
    if detector is None:
        return Found(None)
    track = FaceTrack(detector)
    rate_hz = frames.frames_per_second or settings.frames_per_second
    faces = [track.follow(image, place / rate_hz) for place, image in enumerate(frames.images)]
    height, width = frames.images.shape[1:3]
    seen = [face for face in faces if face is not None]
    if seen:
        return replace(where(faces, height, width, settings), looks=track.looks)
    if is_crop(height, width):
        return Found(None, looks=track.looks)
    if len(faces) == 1 and _is_square(height, width):
        return Found(None, (WHOLE,), track.looks)
    raise DataError(
        f"no face was found in {'the picture' if len(faces) == 1 else f'any of {len(faces)} frames'} of "
        f"{width} x {height} pixels; come nearer, turn to the camera, or crop the picture to a square around the face"
    )


def where(faces: Sequence[Face | None], height: int, width: int, settings: VisionSettings) -> Found:
    """Faces to cut out of pictures, or pictures to take whole where most are filled by one and stand or lie alike.

    Faces that are aligned are always cut out.

    Parameters
    ----------
    faces : sequence of Face or None
        One a picture, not all None.
    height, width : int
        Of the pictures.
    settings : VisionSettings
        The encoder's.
    """
    if settings.align:
        return Found(faces)
    margin, seen = settings.face_margin, [face for face in faces if face is not None]
    filled = Counter(face.lean for face in seen if face.lean % 90 == 0 and _fills(face, height, width, margin))
    ((lean, count),) = filled.most_common(1) or [(0.0, 0)]
    return Found(None, quarter=round(lean / 90)) if 2 * count > len(seen) else Found(faces)


def _fills(face: Face, height: int, width: int, margin: float) -> bool:
    """Whether a face fills a square picture, so that somebody has cut it out already."""
    longer = max(face.box[2] - face.box[0], face.box[3] - face.box[1])
    return _is_square(height, width) and longer * (1 + margin) >= _FILLS * min(height, width)


def is_crop(height: int, width: int) -> bool:
    """Whether a picture is small and square, as corpora of faces are: it is one even where no detector finds it."""
    return _is_square(height, width) and max(height, width) <= _SMALL


def is_blank(images: NDArray[np.uint8]) -> bool:
    """Whether pictures, shape (N, H, W, 3), show nothing: one shade all over, as lens caps and empty files do."""
    return all(float(image.std(axis=(0, 1)).max()) < _SPREAD for image in images)


def _is_square(height: int, width: int) -> bool:
    return max(height, width) <= _SQUARE * min(height, width)
