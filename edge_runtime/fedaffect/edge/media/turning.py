"""Pictures turned so that a face stands upright."""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.media.picture import cut

Box: TypeAlias = tuple[float, float, float, float]
# A square's diagonal, and a pixel or two for rounding.
_DIAGONAL: Final = 1.42


def turned(image: NDArray[np.uint8], box: Box, lean: float) -> tuple[NDArray[np.uint8], Box]:
    """A picture in which what leans stands upright, and where in it a square region is.

    Quarter turns move pixels and change none. Others are interpolated, and only as much as the region needs is kept.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
        RGB.
    box : tuple of float
        Left, top, right, bottom of a square, which turns about its centre; what lies outside the picture is black.
    lean : float
        Degrees, clockwise, by which it is turned in the picture.
    """
    if lean % 90 == 0:
        quarter = round(lean / 90) % 4
        return np.rot90(image, quarter), _quarter(box, quarter, image.shape[0], image.shape[1])
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    reach = int(np.ceil((box[2] - box[0]) * _DIAGONAL / 2)) + 2
    left, top = round(x) - reach, round(y) - reach
    around = cut(image, (left, top, left + 2 * reach, top + 2 * reach))
    upright = around.rotate(lean, Image.Resampling.BICUBIC, center=(x - left, y - top))
    return np.asarray(upright), (box[0] - left, box[1] - top, box[2] - left, box[3] - top)


def turned_back(box: Box, quarter: int, height: int, width: int) -> Box:
    """A box found in a picture turned by quarters counterclockwise, upright about its centre in the picture itself.

    Parameters
    ----------
    box : tuple of float
        In the turned picture.
    quarter : int
        How often it was turned.
    height, width : int
        Of the picture itself.
    """
    return _quarter(box, -quarter % 4, *((width, height) if quarter % 2 else (height, width)))


def _quarter(box: Box, quarter: int, height: int, width: int) -> Box:
    """Where a box lies after quarter turns counterclockwise of a picture; its sides stay, its centre moves."""
    if quarter == 0:
        return box
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    x, y = {1: (y, width - x), 2: (width - x, height - y), 3: (height - y, x)}[quarter]
    half_w, half_h = (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    return x - half_w, y - half_h, x + half_w, y + half_h
