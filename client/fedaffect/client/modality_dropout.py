"""Modality dropout: in training a sample loses modalities at random, so that any subset works later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

# So many numbers in [0, 1).
Uniforms: TypeAlias = Callable[[int], NDArray[np.float64]]


def drop_modalities(present: Mapping[str, Tensor], rate: float, uniforms: Uniforms) -> dict[str, Tensor]:
    """Hide whole modalities of single samples.

    Parameters
    ----------
    present : mapping of str to Tensor of bool, shape (B, T_m)
    rate : float
        Probability that a sample loses a modality it has; one that would lose all keeps all.
    uniforms : callable
        Draws one number a sample and modality.

    Returns
    -------
    dict of str to Tensor of bool, shape (B, T_m)
    """
    samples = len(next(iter(present.values())))
    return hide_modalities(present, uniforms(samples * len(present)).reshape(samples, -1) < rate)


def hide_modalities(present: Mapping[str, Tensor], drawn: NDArray[np.bool_]) -> dict[str, Tensor]:
    """Hide those modalities whose lot it is, shape (B, M); a sample that would lose all that it has keeps all."""
    streams = list(present)
    held = torch.stack([present[s].any(dim=1) for s in streams], dim=1)  # (B, M)
    drop = torch.from_numpy(drawn) & held
    drop &= (held & ~drop).any(dim=1, keepdim=True)
    return {s: present[s] & ~drop[:, place : place + 1] for place, s in enumerate(streams)}
