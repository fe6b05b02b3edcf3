"""Looks for a face again only when it may have moved."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edge_runtime.media.face import Box, FaceDetector

# Longest that a box is trusted, and how soon to look again where there was no face, in seconds.
TRUSTED_S: Final = 1.0
RETRY_S: Final = 0.4
# Mean change of a face and its surroundings, in grey levels of 255, from which it may have moved. Faces of FER+ pasted
# into a scene change by 9 (median) when moved by 3 % of their width, by 17 at 6 % and by 24 at 9 %.
MOVED: Final = 20.0
_SIDE: Final = 16
_AROUND: Final = 1.3


class FaceTrack:
    """The largest face of pictures that follow each other.

    Between two looks the box stays where it was; a small grey picture of it and its surroundings, compared with the
    one of the last look, says when to look again. Detection is the dearest part of a frame, the comparison costs a
    hundredth of it.

    Parameters
    ----------
    detector : FaceDetector
        Asked where the face is.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._box: Box | None = None
        self._seen: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()
        self._looked_s = float("-inf")
        self.looks = 0

    def follow(self, image: NDArray[np.uint8], time_s: float) -> Box | None:
        """Box of the face in the next picture, or None where there is none.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
            RGB.
        time_s : float
            When it was taken, on any clock that goes forward.
        """
        if self._must_look(image, time_s):
            (self._box,) = self._detector.largest(image[None])
            self._seen = None if self._box is None else _surroundings(image, self._box)
            self._shape, self._looked_s = image.shape, time_s
            self.looks += 1
        return self._box

    def _must_look(self, image: NDArray[np.uint8], time_s: float) -> bool:
        since_s = time_s - self._looked_s
        # Half a millisecond, because times are sums of fractions.
        if image.shape != self._shape or since_s >= TRUSTED_S - 5e-4:
            return True
        if self._box is None or self._seen is None:
            return since_s >= RETRY_S - 5e-4
        return float(np.abs(_surroundings(image, self._box) - self._seen).mean()) > MOVED


def _surroundings(image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    half = max(box[2] - box[0], box[3] - box[1]) * _AROUND / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    height, width = image.shape[:2]
    left, top = min(max(0, int(x - half)), width - 1), min(max(0, int(y - half)), height - 1)
    right, bottom = max(left + 1, min(width, int(x + half))), max(top + 1, min(height, int(y + half)))
    picture = Image.fromarray(image[top:bottom, left:right]).convert("L")
    return np.asarray(picture.resize((_SIDE, _SIDE), Image.Resampling.BOX), np.float32)
