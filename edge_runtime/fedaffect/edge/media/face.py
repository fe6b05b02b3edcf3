"""Where the face is: CenterFace through ONNX, and the crop that an encoder sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.media.alignment import similarity
from fedaffect.edge.media.turning import Box, turned, turned_back
from fedaffect.edge.system.onnx_session import open_session

_STRIDE: Final = 4
_MULTIPLE: Final = 32
_BATCH: Final = 8
# A face that stands upright as a rule is at least so hot, leans by less than this many degrees, and its landmarks lie
# so near to where those of an upright face do; other turns of the picture are tried only where it is not.
_SURE_HEAT: Final = 0.7
_SURE_LEAN: Final = 35.0
_SURE_MISFIT: Final = 0.45
# By how much a face must be surer in another turn of the picture, and how hot it must be there.
_SURER: Final = 0.1
_TURNED_HEAT: Final = 0.6
# Degrees from which a face is turned upright before it is cut out; the face network was trained with turns of 15.
LEANS: Final = 20.0
# Around a face that is looked at again, turned upright: how many times its longer side, and how far, in shares of it,
# its centre may be elsewhere.
_AROUND: Final = 2.0
_SAME_PLACE: Final = 0.5
# Eyes, nose and corners of the mouth of an upright face, as complex numbers x + iy, y downwards; their mean is 0.
_UPRIGHT: Final = np.array([-0.5 - 0.58j, 0.5 - 0.58j, 0.02j, -0.4 + 0.57j, 0.4 + 0.57j])

__all__ = ["LEANS", "Box", "Face", "FaceDetector", "crop_boxes"]


@dataclass(frozen=True, slots=True)
class Face:
    """A face in a picture.

    Parameters
    ----------
    box : tuple of float
        Left, top, right, bottom in the picture's pixels; of a face that leans, as if it stood upright on its centre.
    lean : float
        Degrees, clockwise, by which it is turned; 0 where it is taken as it stands.
    points : tuple of complex
        Eyes, nose and corners of the mouth, the left ones of a face that stands first: x + iy in the picture's pixels.
        Empty where they are not known, or do not lie as those of a face do.
    """

    box: Box
    lean: float = 0.0
    points: tuple[complex, ...] = ()

    def moved(self, box: Box) -> Face:
        """The same face elsewhere, as large as before."""
        step = complex(box[0] - self.box[0] + box[2] - self.box[2], box[1] - self.box[1] + box[3] - self.box[3]) / 2
        return Face(box, self.lean, tuple(point + step for point in self.points))


@dataclass(frozen=True, slots=True)
class _Seen:
    """What one look at one turn of a picture gave: a box, its heat in [0, 1], and how its landmarks lie.

    ``lean`` is in degrees, clockwise; ``misfit`` is the share of the landmarks' spread that no turned, moved and scaled
    upright face explains; ``points`` are the landmarks, shape (5,).
    """

    box: Box
    heat: float
    lean: float
    misfit: float
    points: NDArray[np.complex128]

    @property
    def is_sure(self) -> bool:
        return self.heat >= _SURE_HEAT and abs(self.lean) <= _SURE_LEAN and self.misfit <= _SURE_MISFIT

    @property
    def placed(self) -> tuple[complex, ...]:
        """The landmarks; empty where they do not lie as those of a face do."""
        return tuple(self.points.tolist()) if self.misfit <= _SURE_MISFIT else ()

    def within(self, middle: complex, elsewhere: complex, lean: float) -> tuple[complex, ...]:
        """The landmarks in a picture of which this one is a part turned upright by ``lean``, a point of it given."""
        turn = complex(np.exp(1j * np.radians(lean)))
        return tuple(elsewhere + (point - middle) * turn for point in self.placed)

    @property
    def surety(self) -> float:
        """Heat, less where the landmarks are not those of an upright face: the detector half sees other faces too."""
        return self.heat - 0.3 * max(0.0, self.misfit - 0.2) - 0.003 * max(0.0, abs(self.lean) - 30)


class FaceDetector:
    """The largest face of each picture.

    Xu et al., "CenterFace: Joint Face Detection and Alignment Using Face as Point" (2019): a heat map of face centres
    with a size and an offset at each place. The largest face alone is wanted, so no suppression of overlaps is needed.

    Parameters
    ----------
    path : Path
        CenterFace as ONNX with free dimensions (the bundle builder frees them).
    side : int
        The longer side of a picture is scaled to this before looking; rounded up to a multiple of 32.
    threshold : float
        Heat from which a place counts as a face.
    """

    def __init__(self, path: Path, side: int, threshold: float) -> None:
        self._session = open_session(path)
        self._side = side
        self._threshold = threshold

    def largest(self, images: NDArray[np.uint8]) -> list[Face | None]:
        """The largest face in each picture, as it stands; None where there is none.

        Parameters
        ----------
        images : uint8 array, shape (N, H, W, 3)
            RGB.
        """
        return [None if seen is None else Face(seen.box, points=seen.placed) for seen in self._look(images)]

    def upright(self, image: NDArray[np.uint8], turns: bool = True) -> Face | None:
        """The largest face of a picture, with how it must be turned to stand upright; None where there is none.

        The detector knows upright faces. Where it finds none, or one of which it or the landmarks are unsure, it also
        looks at the picture in the three other quarter turns. A face that leans by more than `LEANS` is looked at again
        as its landmarks say that it stands upright, which gives the box that the margin is meant for; where that look
        does not confirm it, the face is taken as it stood.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
            RGB.
        turns : bool
            Whether quarter turns may be tried.
        """
        (first,) = self._look(image[None])
        seen, quarter = first, 0
        if turns and (first is None or not first.is_sure):
            seen, quarter = self._in_quarter_turns(image, first)
        if seen is None:
            return None
        box = turned_back(seen.box, quarter, image.shape[0], image.shape[1])
        stood = Face(box, 90.0 * quarter, seen.within(_middle(seen.box), _middle(box), 90.0 * quarter))
        if abs(seen.lean) < LEANS:
            return stood
        upright = self._confirmed(image, replace(stood, lean=stood.lean + seen.lean))
        return upright or (stood if first is None else Face(first.box, points=first.placed))

    def _in_quarter_turns(self, image: NDArray[np.uint8], seen: _Seen | None) -> tuple[_Seen | None, int]:
        """What is surest of four turns, and how many quarters counterclockwise it takes; as it stands unless surer."""
        best, quarter = seen, 0
        least = _SURER + (0.0 if seen is None else seen.surety)
        for turns in (1, 2, 3):
            (other,) = self._look(np.ascontiguousarray(np.rot90(image, turns))[None])
            if other is not None and other.heat >= _TURNED_HEAT and other.surety >= least:
                best, quarter, least = other, turns, other.surety
        return best, quarter

    def _confirmed(self, image: NDArray[np.uint8], face: Face) -> Face | None:
        """A leaning face as a look at it turned upright gives it; None where that look finds none that stands there."""
        left, top, right, bottom = face.box
        side = _AROUND * max(right - left, bottom - top)
        x, y = (left + right) / 2, (top + bottom) / 2
        around, place = turned(image, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), face.lean)
        (again,) = self._look(around[None])
        if again is None or abs(again.lean) > LEANS:
            return None
        turn, middle = np.exp(1j * np.radians(face.lean)), _middle(place)
        moved = complex((_middle(again.box) - middle) * turn)
        if abs(moved) > _SAME_PLACE * side / _AROUND:
            return None
        half = complex(again.box[2] - again.box[0], again.box[3] - again.box[1]) / 2
        low, high = complex(x, y) + moved - half, complex(x, y) + moved + half
        points = again.within(middle, complex(x, y), face.lean)
        return Face((low.real, low.imag, high.real, high.imag), face.lean + again.lean, points)

    def every(self, image: NDArray[np.uint8], most: int) -> list[Face]:
        """All faces of a picture as they stand, the largest first.

        Parameters
        ----------
        image : uint8 array, shape (H, W, 3)
            RGB.
        most : int
            How many at most.
        """
        ((places, scale),) = self._mapped(image[None])
        return [Face(seen.box, points=seen.placed) for seen in places.apart(scale, most)]

    def _look(self, images: NDArray[np.uint8]) -> list[_Seen | None]:
        return [places.largest(scale) for places, scale in self._mapped(images)]

    def _mapped(self, images: NDArray[np.uint8]) -> Iterator[tuple[_Places, tuple[float, float]]]:
        """Where faces may be in each picture, and how a map's pixels become the picture's."""
        height, width = images.shape[1:3]
        scale = self._side / max(height, width)
        size = [max(1, -(-round(side * scale) // _MULTIPLE)) * _MULTIPLE for side in (width, height)]
        for start in range(0, len(images), _BATCH):
            scaled = [
                np.asarray(Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.BILINEAR))
                for image in images[start : start + _BATCH]
            ]
            pixels = np.stack(scaled).astype(np.float32).transpose(0, 3, 1, 2)  # (B, 3, h, w), RGB 0..255
            outputs = self._session.run(None, {self._session.get_inputs()[0].name: pixels})
            for heat, *others in zip(*outputs, strict=True):
                yield _Places(heat[0], others, self._threshold), (width / size[0], height / size[1])


class _Places:
    """Where a heat map (h, w), with sizes and offsets (2, h, w) and landmarks (10, h, w), has the centres of faces."""

    def __init__(self, heat: NDArray[np.float32], others: Sequence[NDArray[np.float32]], threshold: float) -> None:
        self._rows, self._columns = rows, columns = np.nonzero(heat >= threshold)
        sizes, offsets, self._landmarks = others
        self._heat = heat[rows, columns]
        self._heights = np.exp(sizes[0, rows, columns]) * _STRIDE
        self._widths = np.exp(sizes[1, rows, columns]) * _STRIDE
        self._y = (rows + offsets[0, rows, columns] + 0.5) * _STRIDE
        self._x = (columns + offsets[1, rows, columns] + 0.5) * _STRIDE
        self._area = self._heights * self._widths

    def largest(self, scale: tuple[float, float]) -> _Seen | None:
        if self._rows.size == 0:
            return None
        # Neighbouring places of one face give nearly equal boxes; of the largest face's own, the hottest is the surest.
        widest = int(self._area.argmax())
        own = np.flatnonzero((self._area >= 0.5 * self._area[widest]) & self._within(widest))
        return self._seen(int(own[np.argmax(self._heat[own])]), scale)

    def apart(self, scale: tuple[float, float], most: int) -> list[_Seen]:
        """Faces whose centres lie outside each other's boxes, the hottest of each, the largest face first."""
        left, chosen = np.ones(self._rows.size, bool), []
        while left.any():
            best = int(np.where(left, self._heat, -1.0).argmax())
            chosen.append(best)
            left &= ~self._within(best)
        largest_first = sorted(chosen, key=lambda place: -float(self._area[place]))
        return [self._seen(place, scale) for place in largest_first[:most]]

    def _within(self, place: int) -> NDArray[np.bool_]:
        """Which centres lie within the box of one."""
        return np.asarray(
            (np.abs(self._y - self._y[place]) <= self._heights[place] / 2)
            & (np.abs(self._x - self._x[place]) <= self._widths[place] / 2)
        )

    def _seen(self, place: int, scale: tuple[float, float]) -> _Seen:
        y, x, half_w, half_h = self._y[place], self._x[place], self._widths[place] / 2, self._heights[place] / 2
        box = _scaled((float(x - half_w), float(y - half_h), float(x + half_w), float(y + half_h)), *scale)
        # In shares of the box, y before x.
        marks = self._landmarks[:, self._rows[place], self._columns[place]].astype(np.float64)
        points = marks[1::2] * (box[2] - box[0]) + 1j * marks[::2] * (box[3] - box[1])
        lean, misfit = _leaning(points)
        return _Seen(box, float(self._heat[place]), lean, misfit, points + complex(box[0], box[1]))


def _leaning(points: NDArray[np.complex128]) -> tuple[float, float]:
    """By how much an upright face must be turned to lie like these landmarks, and what that leaves unexplained.

    See `similarity`.
    """
    k, m = similarity(_UPRIGHT, points)
    spread = max(float(np.linalg.norm(points - points.mean())), 1e-9)
    return float(np.degrees(np.angle(k))), float(np.linalg.norm(points - k * _UPRIGHT - m)) / spread


def _middle(box: Box) -> complex:
    return complex(box[0] + box[2], box[1] + box[3]) / 2


def _scaled(box: Box, x: float, y: float) -> Box:
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _distance(here: int, other: int) -> tuple[int, int]:
    return abs(other - here), other


def crop_boxes(found: Sequence[Face | None], height: int, width: int, margin: float) -> list[Face]:
    """A square around each face, turned as it is, and around something sensible where no face was found.

    A frame without a face takes the box of the nearest frame of the clip that has one, the earlier of two; a clip
    without any face takes the centre square of the frame.

    Parameters
    ----------
    found : sequence of Face or None
        One a frame.
    height, width : int
        Of the frames, in pixels.
    margin : float
        How much of the face's longer side to add, in all.
    """
    seen = [index for index, face in enumerate(found) if face is not None]
    boxes = []
    for index in range(len(found)):
        face = found[min(seen, key=partial(_distance, index))] if seen else None
        if face is None:
            face, side = Face((0.0, 0.0, float(width), float(height))), float(min(height, width))
        else:
            side = max(face.box[2] - face.box[0], face.box[3] - face.box[1]) * (1 + margin)
        x, y = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
        boxes.append(replace(face, box=(x - side / 2, y - side / 2, x + side / 2, y + side / 2)))
    return boxes
