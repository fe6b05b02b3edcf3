"""Follows a face from picture to picture, and looks for it again only when it is lost."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.media.face import Box, Face, FaceDetector
from fedaffect.edge.media.picture import cut

# Longest that a face is followed without looking, and how soon to look again where there was none, in seconds.
TRUSTED_S: Final = 1.0
RETRY_S: Final = 0.4
# Correlation, in [-1, 1], from which what is seen is the same face as before.
SAME: Final = 0.7
# Pixels across a face, and across the window in which it is sought.
_FACE: Final = 24
_WINDOW: Final = 48


class FaceTrack:
    """The largest face of pictures that follow each other.

    The detector looks once a second. In between the face is sought where it was: the place within half its width at
    which a small grey picture of it correlates best. That costs a tenth of a look, and a box that follows is off by a
    fiftieth of the face; where nothing correlates, the detector looks at once.

    Parameters
    ----------
    detector : FaceDetector
        Asked where the face is.

    Attributes
    ----------
    looks : int
        How often it was asked.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self._detector = detector
        self._face: Face | None = None
        self._grey: NDArray[np.float32] | None = None
        self._shape: tuple[int, ...] = ()
        self._looked_s = self._turned_s = float("-inf")
        self.looks = 0

    def follow(self, image: NDArray[np.uint8], time_s: float) -> Face | None:
        """The face in the next picture, or None where there is none.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
            RGB.
        time_s : float
            When it was taken, on any clock that goes forward.
        """
        # Half a millisecond, because times are sums of fractions.
        wait_s = TRUSTED_S if self._face is not None else RETRY_S
        if image.shape != self._shape or time_s - self._looked_s >= wait_s - 5e-4:
            return self._look(image, time_s)
        if self._face is None or self._grey is None:
            return None
        moved = sought(image, self._face.box, self._grey)
        if moved is None:
            return self._look(image, time_s)
        self._face = self._face.moved(moved)
        return self._face

    def _look(self, image: NDArray[np.uint8], time_s: float) -> Face | None:
        # Four looks for one, where nobody is there, are for once in a while.
        turns = time_s - self._turned_s >= TRUSTED_S - 5e-4 or image.shape != self._shape
        self._turned_s = time_s if turns else self._turned_s
        self._face = self._detector.upright(image, turns)
        self._grey = None if self._face is None else pattern_of(image, self._face.box)
        self._shape, self._looked_s = image.shape, time_s
        self.looks += 1
        return self._face


def sought(image: NDArray[np.uint8], box: Box, face: NDArray[np.float32]) -> Box | None:
    """Where near a box the face is now, or None where nothing is like it.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
    box : tuple of float
        Where it was, in pixels.
    face : float32 array, shape (24, 24)
        Of `pattern_of`.
    """
    alike = _alike_around(image, box, face)
    best = int(alike.argmax())
    if alike.flat[best] < SAME:
        return None
    row, column = np.unravel_index(best, alike.shape)
    middle, pixel = (_WINDOW - _FACE) // 2, max(box[2] - box[0], box[3] - box[1]) / _FACE
    x, y = float(column - middle) * pixel, float(row - middle) * pixel
    return box[0] + x, box[1] + y, box[2] + x, box[3] + y


def likeness(image: NDArray[np.uint8], box: Box, face: NDArray[np.float32]) -> float:
    """How like a face what lies in a box is, in [-1, 1]; a box may be off by half its width.

    Parameters
    ----------
    image, box, face
        As of `sought`.
    """
    return float(_alike_around(image, box, face).max())


def _alike_around(image: NDArray[np.uint8], box: Box, face: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pearson's correlation with a face, whose mean is 0 and whose norm is 1, at each place around a box; (25, 25)."""
    views = sliding_window_view(_grey(image, box, _WINDOW / _FACE, _WINDOW), face.shape)  # (25, 25, 24, 24)
    flat = views.reshape(-1, face.size)
    spread = np.sqrt(np.maximum(np.einsum("ij,ij->i", flat, flat) - flat.sum(axis=1) ** 2 / face.size, 0))
    alike = flat @ face.reshape(-1) / np.maximum(spread, 1e-3)
    return np.asarray(alike.reshape(views.shape[:2]), np.float32)


def _grey(image: NDArray[np.uint8], box: Box, around: float, side: int) -> NDArray[np.float32]:
    """The square around a box, so many times as wide, as grey levels of shape (side, side); black outside."""
    half = max(box[2] - box[0], box[3] - box[1]) * around / 2
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    left, top = round(x - half), round(y - half)
    square = left, top, max(left + 1, round(x + half)), max(top + 1, round(y + half))
    return np.asarray(cut(image, square).convert("L").resize((side, side), Image.Resampling.BOX), np.float32)


def pattern_of(image: NDArray[np.uint8], box: Box) -> NDArray[np.float32]:
    """A small grey picture of a face, (24, 24), whose mean is 0 and whose norm is 1: what `sought` looks for."""
    face = _grey(image, box, 1.0, _FACE)
    centred = face - face.mean()
    return np.asarray(centred / max(float(np.linalg.norm(centred)), 1e-3), np.float32)
