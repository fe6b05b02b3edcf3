"""Where the face is: CenterFace through ONNX, and the crop that an encoder sees."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.system.onnx_session import open_session

Box: TypeAlias = tuple[float, float, float, float]
_STRIDE: Final = 4
_MULTIPLE: Final = 32
_BATCH: Final = 8


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

    def largest(self, images: NDArray[np.uint8]) -> list[Box | None]:
        """Box of the largest face in each picture: left, top, right, bottom in its pixels; None where there is none.

        Parameters
        ----------
        images : uint8 array, shape (N, H, W, 3)
            RGB.
        """
        height, width = images.shape[1:3]
        scale = self._side / max(height, width)
        size = [max(1, -(-round(side * scale) // _MULTIPLE)) * _MULTIPLE for side in (width, height)]
        boxes: list[Box | None] = []
        for start in range(0, len(images), _BATCH):
            scaled = [
                np.asarray(Image.fromarray(image).resize((size[0], size[1]), Image.Resampling.BILINEAR))
                for image in images[start : start + _BATCH]
            ]
            pixels = np.stack(scaled).astype(np.float32).transpose(0, 3, 1, 2)  # (B, 3, h, w), RGB 0..255
            heat, sizes, offsets, _ = self._session.run(None, {self._session.get_inputs()[0].name: pixels})
            for place in range(len(pixels)):
                box = _largest_box(heat[place, 0], sizes[place], offsets[place], self._threshold)
                boxes.append(_scaled(box, width / size[0], height / size[1]) if box else None)
        return boxes


def _largest_box(
    heat: NDArray[np.float32], sizes: NDArray[np.float32], offsets: NDArray[np.float32], threshold: float
) -> Box | None:
    rows, columns = np.nonzero(heat >= threshold)
    if rows.size == 0:
        return None
    heights = np.exp(sizes[0, rows, columns]) * _STRIDE
    widths = np.exp(sizes[1, rows, columns]) * _STRIDE
    centres_y = (rows + offsets[0, rows, columns] + 0.5) * _STRIDE
    centres_x = (columns + offsets[1, rows, columns] + 0.5) * _STRIDE
    # Neighbouring places of one face give nearly equal boxes; of the largest face's own, the hottest is the surest.
    area = heights * widths
    widest = int(area.argmax())
    own = np.flatnonzero(
        (area >= 0.5 * area[widest])
        & (np.abs(centres_y - centres_y[widest]) <= heights[widest] / 2)
        & (np.abs(centres_x - centres_x[widest]) <= widths[widest] / 2)
    )
    best = own[np.argmax(heat[rows[own], columns[own]])]
    y, x, half_w, half_h = centres_y[best], centres_x[best], widths[best] / 2, heights[best] / 2
    return float(x - half_w), float(y - half_h), float(x + half_w), float(y + half_h)


def _scaled(box: Box, x: float, y: float) -> Box:
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def _distance(here: int, other: int) -> tuple[int, int]:
    return abs(other - here), other


def crop_boxes(found: list[Box | None], height: int, width: int, margin: float) -> list[Box]:
    """A square around each face, and around something sensible where no face was found.

    A frame without a face takes the box of the nearest frame of the clip that has one, the earlier of two; a clip
    without any face takes the centre square of the frame.

    Parameters
    ----------
    found : list of box or None
        One a frame.
    height, width : int
        Of the frames, in pixels.
    margin : float
        How much of the face's longer side to add, in all.
    """
    seen = [index for index, box in enumerate(found) if box is not None]
    boxes = []
    for index in range(len(found)):
        box = found[min(seen, key=partial(_distance, index))] if seen else None
        if box is None:
            box, side = (0.0, 0.0, float(width), float(height)), float(min(height, width))
        else:
            side = max(box[2] - box[0], box[3] - box[1]) * (1 + margin)
        x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
        boxes.append((x - side / 2, y - side / 2, x + side / 2, y + side / 2))
    return boxes
