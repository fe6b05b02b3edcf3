"""Faces moved, turned and scaled so that eyes, nose and mouth lie where an aligned face has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Eyes, nose and corners of the mouth in a square of 112 pixels, as Deng et al. (ArcFace, 2019) align faces.
_TEMPLATE: Final = np.array(
    [38.2946 + 51.6963j, 73.5318 + 51.5014j, 56.0252 + 71.7366j, 41.5493 + 92.3655j, 70.7299 + 92.2041j]
)
_TEMPLATE_SIDE: Final = 112


def template(size: int, margin: float) -> NDArray[np.complex128]:
    """Where five landmarks lie in an aligned picture.

    Parameters
    ----------
    size : int
        Side of the picture, in pixels.
    margin : float
        How much of a tightly cut face's side is added around it, in all.

    Returns
    -------
    complex array, shape (5,)
        x + iy of the left eye in the picture, the right one, the nose, the left corner of the mouth, the right one.
    """
    centre = complex(_TEMPLATE_SIDE, _TEMPLATE_SIDE) / 2
    scale = size / (_TEMPLATE_SIDE * (1 + margin))
    placed: NDArray[np.complex128] = (_TEMPLATE - centre) * scale + complex(size, size) / 2
    return placed


def similarity(
    source: Sequence[complex] | NDArray[np.complex128], target: NDArray[np.complex128]
) -> tuple[complex, complex]:
    """The turn, scale and shift that take points nearest to others, in least squares.

    Umeyama, "Least-squares estimation of transformation parameters between two point patterns" (1991), in the plane,
    where a similarity without reflection is z -> k z + m: k = <s, t> / |s|^2 of both without their means.

    Parameters
    ----------
    source, target : complex, shape (N,)
        Points x + iy.

    Returns
    -------
    k, m : complex
        0 for k where all source points are one.
    """
    points = np.asarray(source, np.complex128)
    centred = points - points.mean()
    spread = float(np.vdot(centred, centred).real)
    k = complex(np.vdot(centred, target - target.mean())) / spread if spread else 0j
    return k, complex(target.mean() - k * points.mean())


def aligned(image: NDArray[np.uint8], points: Sequence[complex], size: int, margin: float) -> NDArray[np.uint8]:
    """A face cut out so that its landmarks lie as near as can be to the `template`; black outside the picture.

    Parameters
    ----------
    image : uint8 array, shape (H, W, 3)
        RGB.
    points : sequence of complex
        Five landmarks in its pixels, in the template's order.
    size, margin
        As of `template`.

    Returns
    -------
    uint8 array, shape (size, size, 3)
    """
    k, m = similarity(points, template(size, margin))
    if not k:
        return np.zeros((size, size, 3), np.uint8)
    picture = Image.fromarray(image)
    # What shrinks much is averaged first: interpolation alone would skip pixels.
    if (shrink := int(1 / abs(k))) > 1:
        picture = picture.reduce(shrink)
        k *= shrink
    # Pillow asks where a pixel comes from: z = (w - m) / k.
    back = 1 / k
    start = -m * back
    matrix = (back.real, -back.imag, start.real, back.imag, back.real, start.imag)
    return np.asarray(picture.transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
