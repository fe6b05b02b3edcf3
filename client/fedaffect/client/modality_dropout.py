"""Modality dropout: in training a sample loses modalities at random, so that any subset works later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
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
    return hide_modalities(present, drawn_lots(len(next(iter(present.values()))), len(present), rate, uniforms))


def drawn_lots(samples: int, streams: int, rate: float, uniforms: Uniforms) -> NDArray[np.bool_]:
    """Which sample's lot it is to lose which modality, shape (B, M)."""
    lots: NDArray[np.bool_] = uniforms(samples * streams).reshape(samples, -1) < rate
    return lots


def hide_modalities(present: Mapping[str, Tensor], drawn: NDArray[np.bool_]) -> dict[str, Tensor]:
    """Hide those modalities whose lot it is, shape (B, M); a sample that would lose all that it has keeps all."""
    import torch

    streams = list(present)
    held = torch.stack([present[s].any(dim=1) for s in streams], dim=1)  # (B, M)
    drop = torch.from_numpy(drawn) & held
    drop &= (held & ~drop).any(dim=1, keepdim=True)
    return {s: present[s] & ~drop[:, place : place + 1] for place, s in enumerate(streams)}


def hide_in_arrays(present: Mapping[str, NDArray[np.bool_]], drawn: NDArray[np.bool_]) -> dict[str, NDArray[np.bool_]]:
    """:func:`hide_modalities` where there is no torch."""
    held = np.stack([mask.any(axis=1) for mask in present.values()], axis=1)  # (B, M)
    drop = drawn & held
    drop &= (held & ~drop).any(axis=1, keepdims=True)
    return {s: mask & ~drop[:, place : place + 1] for place, (s, mask) in enumerate(present.items())}
