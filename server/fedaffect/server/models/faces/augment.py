"""Faces seen otherwise: turned, moved, mirrored, lit, blurred, partly hidden."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional


def augment(faces: Tensor, generator: Generator, side: int | None = None) -> Tensor:
    """Random views of grey faces.

    Rotation by up to 15 degrees, scale 0.85 to 1.2, shift by up to a tenth of the side, mirroring, contrast, blur as
    of a smaller picture, noise, and a hidden rectangle: what a camera that follows a face does to it.

    Parameters
    ----------
    faces : Tensor of uint8, shape (B, 1, S, S)
    generator : Generator
        Decides everything.
    side : int, optional
        Of the views; S if not given.

    Returns
    -------
    Tensor of float32, shape (B, 1, side, side)
        In 0..1, about.
    """
    B = len(faces)
    S = side or faces.shape[-1]

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(B, *shape, generator=generator) * (high - low) + low

    angle, scale = uniform(-math.pi / 12, math.pi / 12), uniform(0.85, 1.2)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    rows = torch.stack([cos * mirror, -sin, uniform(-0.2, 0.2), sin * mirror, cos, uniform(-0.2, 0.2)], dim=1)
    grid = functional.affine_grid(rows.view(B, 2, 3), [B, 1, S, S], align_corners=False)
    views = functional.grid_sample(faces.float() / 255, grid, padding_mode="border", align_corners=False)
    small = functional.interpolate(views, size=S // 2, mode="area")
    blurred = functional.interpolate(small, size=S, mode="bilinear")
    views = torch.where(uniform(0, 1, 1, 1, 1) < 0.15, blurred, views)
    views = (views.clamp(0, 1) + 1e-3) ** torch.exp(uniform(-0.4, 0.4, 1, 1, 1))
    views = views + uniform(0, 0.06, 1, 1, 1) * torch.randn(B, 1, S, S, generator=generator)
    return _hide(views, uniform(0, 1, 5))


def _hide(views: Tensor, draws: Tensor) -> Tensor:
    """Grey out a rectangle of up to 0.4 of each side in 40 of 100 pictures."""
    S = views.shape[-1]
    steps = torch.arange(S) / S  # (S,)
    high, wide = draws[:, 0:1] * 0.3 + 0.1, draws[:, 1:2] * 0.3 + 0.1
    top, left = draws[:, 2:3] * (1 - high), draws[:, 3:4] * (1 - wide)
    rows = (steps >= top) & (steps < top + high)  # (B, S)
    columns = (steps >= left) & (steps < left + wide)
    hidden = rows[:, :, None] & columns[:, None, :] & (draws[:, 4] < 0.4)[:, None, None]
    return torch.where(hidden[:, None], views.mean(dim=(2, 3), keepdim=True), views)
