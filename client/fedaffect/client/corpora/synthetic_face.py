"""Faces of the synthetic corpus: drawn heads whose mouth, brows and eyes move with the mood."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from fedaffect.edge.sample import Frames

SIDE = 96
FRAMES_PER_SECOND = 5.0
_FRAMES = 5
_FINE = 2  # drawn twice as large and shrunk, for soft edges

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class FaceStyle:
    """How one speaker looks.

    Parameters
    ----------
    skin, hair, backdrop, eyes : tuple of int
        RGB.
    width : float
        Of the head, relative to its height.
    brow : float
        Thickness.
    mouth : float
        Resting curve: some faces smile or frown a little when they mean nothing.
    beard : bool
        Whether the chin is covered.
    fringe : float
        How far hair comes down, as a share of the head.
    """

    skin: Colour
    hair: Colour
    backdrop: Colour
    eyes: Colour
    width: float
    brow: float
    mouth: float
    beard: bool
    fringe: float


@dataclass(frozen=True, slots=True)
class FaceCue:
    """What the mood of one utterance does to that face.

    Parameters
    ----------
    smile : float
        -1 (corners down) to 1 (corners up).
    brows : float
        -1 (inner ends up, as in sorrow) to 1 (inner ends down, as in anger).
    open : float
        0 to 1: how far the mouth opens at most while speaking.
    """

    smile: float
    brows: float
    open: float


def draw(style: FaceStyle, cue: FaceCue, rng: np.random.Generator) -> Frames:
    """One second of a speaking face: 5 frames of 96 x 96 pixels, the head moving a little."""
    shift = rng.normal(0, 0.02, size=2)
    scale = rng.uniform(0.92, 1.05)
    tilt_degrees = rng.normal(0, 5)
    light = rng.uniform(0.85, 1.1)
    images = np.empty((_FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    for frame in range(_FRAMES):
        strength = 0.7 + 0.3 * np.sin(np.pi * (frame + 1) / (_FRAMES + 1))
        mouth_open = cue.open * rng.uniform(0, 1)
        picture = _head(style, cue.smile * strength + style.mouth, cue.brows * strength, mouth_open, shift, scale)
        turned = picture.reduce(_FINE).rotate(
            tilt_degrees + rng.normal(0, 1.5), Image.Resampling.BILINEAR, fillcolor=style.backdrop
        )
        grain = rng.integers(-6, 7, size=(SIDE, SIDE, 1), dtype=np.int8)
        images[frame] = np.clip(np.asarray(turned) * np.float32(light) + grain, 0, 255)
    return Frames(images, FRAMES_PER_SECOND)


def _head(
    style: FaceStyle, smile: float, brows: float, mouth_open: float, shift: NDArray[np.float64], scale: float
) -> Image.Image:
    size = SIDE * _FINE
    picture = Image.new("RGB", (size, size), style.backdrop)
    pen = ImageDraw.Draw(picture)
    unit = 0.42 * size * scale
    cx, cy = size * (0.5 + shift[0]), size * (0.53 + shift[1])

    def box(x: float, y: float, rx: float, ry: float) -> tuple[float, float, float, float]:
        return cx + (x - rx) * unit, cy + (y - ry) * unit, cx + (x + rx) * unit, cy + (y + ry) * unit

    def points(*pairs: tuple[float, float]) -> list[tuple[float, float]]:
        return [(cx + x * unit, cy + y * unit) for x, y in pairs]

    dark: Colour = (40, 25, 25)
    lips: Colour = (max(style.skin[0] - 40, 90), max(style.skin[1] - 90, 30), max(style.skin[2] - 80, 40))
    pen.ellipse(box(0, -0.12, style.width + 0.08, 1.0), fill=style.hair)
    pen.ellipse(box(0, 0, style.width, 1.0), fill=style.skin)
    if style.beard:
        pen.chord(box(0, 0, style.width, 1.0), 25, 155, fill=style.hair)
    pen.chord(box(0, 0, style.width, 1.0), 270 - 140 * style.fringe, 270 + 140 * style.fringe, fill=style.hair)

    # Cheeks rise in a smile and narrow the eyes; brows drawn down do so too.
    lid = 0.11 - 0.03 * max(smile, 0) - 0.03 * max(brows, 0)
    for side in (-1, 1):
        x = 0.36 * style.width * side / 0.75
        pen.ellipse(box(x, -0.12, 0.16, lid), fill=(245, 245, 245), outline=dark)
        pen.ellipse(box(x, -0.12, 0.065, min(lid, 0.075)), fill=style.eyes)
        inner, outer = -0.34 + 0.13 * brows, -0.34 - 0.09 * brows
        pen.line(points((x - 0.19 * side, inner), (x + 0.19 * side, outer)), fill=dark, width=int(style.brow * unit))
    pen.line(points((0, -0.02), (0.05, 0.2), (-0.03, 0.22)), fill=dark, width=max(int(0.02 * unit), 1))

    # A parabola through the corners, deepest in the middle: y falls on the page as the corners rise.
    across = np.linspace(-1, 1, 13)
    half = 0.30 + 0.06 * max(smile, 0)
    curve = 0.50 + 0.16 * smile * (1 - across**2) - 0.08 * smile
    gap = (0.03 + 0.16 * mouth_open) * (1 - across**2)
    upper = list(zip(across * half, curve - 0.35 * gap, strict=True))
    lower = list(zip(across * half, curve + gap, strict=True))
    pen.polygon(points(*upper, *lower[::-1]), fill=(90, 20, 30))
    pen.line(points(*upper), fill=lips, width=max(int(0.045 * unit), 2))
    pen.line(points(*lower), fill=lips, width=max(int(0.045 * unit), 2))
    return picture
