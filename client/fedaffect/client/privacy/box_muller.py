"""Gaussians from random words (Box and Muller 1958): a pair is r cos v and r sin v with r = sqrt(-2 ln u).

u comes from one word of 32 bits and the angle v from another. Single precision keeps 24 bits of each, but the smallest
u, which make the largest Gaussians, would be few and far between: where u falls below 2^-12, another word goes below
the first. u then has 20 significant bits or more wherever it falls, down to 2^-65, and Gaussians reach 9.5 deviations.

On the CPU these are NumPy's kernels, whose logarithm, sine and cosine in single precision take a third of torch's
time; all of it happens in a core's second cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

Words: TypeAlias = NDArray[np.uint32]

# Pairs at a time.
PAIRS = 1 << 14
# Words below this one, the lowest 2^-12 of all, get another word below them.
_FINE = 1 << 20
_TURN = 2 * math.pi / 2**32
_WORD = 2.0**-32


class BoxMuller:
    """Makes pairs of Gaussians, ``PAIRS`` at a time, without taking memory.

    Parameters
    ----------
    words : NDArray of uint32, shape (2 PAIRS,)
        Where the caller puts fresh random words: radii, then angles.
    more : callable
        Given a number, returns as many further words.
    """

    def __init__(self, words: Words, more: Callable[[int], Words]) -> None:
        self._radii = words[:PAIRS]
        # Read as signed, angles lie in [-pi, pi).
        self._angles = words[PAIRS:].view(np.int32)
        self._more = more
        self._low = np.empty(PAIRS, dtype=bool)
        self._radius, self._angle, self._wave = (np.empty(PAIRS, dtype=np.float32) for _ in range(3))

    def write(self, out: NDArray[np.float32], deviation: float) -> None:
        """Turn the words into Gaussians.

        Parameters
        ----------
        out : NDArray of float32, shape (2 PAIRS,)
        deviation : float
        """
        radius, angle, wave = self._radius, self._angle, self._wave
        self._uniform()
        np.log(radius, out=radius)
        np.multiply(radius, np.float32(-2.0 * deviation * deviation), out=radius)
        np.sqrt(radius, out=radius)
        np.copyto(angle, self._angles, casting="unsafe")
        np.multiply(angle, np.float32(_TURN), out=angle)
        np.multiply(radius, np.cos(angle, out=wave), out=out[:PAIRS])
        np.multiply(radius, np.sin(angle, out=wave), out=out[PAIRS:])

    def _uniform(self) -> None:
        """Put u, in (0, 1], where radii will be."""
        np.copyto(self._radius, self._radii, casting="unsafe")
        np.multiply(self._radius, np.float32(_WORD), out=self._radius)
        if np.less(self._radii, np.uint32(_FINE), out=self._low).any():
            few = np.flatnonzero(self._low)
            self._radius[few] = finer(self._radii[few], self._more(len(few)))


def finer(high: Words, low: Words) -> NDArray[np.float32]:
    """Numbers u in (0, 1] from 64 bits.

    Parameters
    ----------
    high, low : NDArray of uint32, shape (N,)

    Returns
    -------
    NDArray of float32, shape (N,)
    """
    made: NDArray[np.float32] = ((high + (low + 0.5) * _WORD) * _WORD).astype(np.float32)
    return made


def box_muller_on(words: Words, more: Callable[[int], Words], out: Tensor, deviation: float) -> None:
    """The same where ``out`` is on another device: words travel there, twice as many bytes as it takes to send none.

    Parameters
    ----------
    words : NDArray of uint32, shape (2 ceil(N / 2),)
        Fresh random words: radii, then angles.
    more : callable
        Given a number, returns as many further words.
    out : Tensor of float32, shape (N,)
    deviation : float
    """
    import torch

    pairs = len(words) // 2
    radii = words[:pairs]
    few = np.flatnonzero(radii < _FINE)
    sent = torch.from_numpy(words.view(np.int32)).to(out.device, non_blocking=True)
    # Signed words hold 2^32 less than they stand for where they are negative.
    radius = sent[:pairs].float()
    radius = torch.where(radius < 0, radius + 2.0**32, radius).mul_(_WORD)
    if len(few):
        fine = torch.from_numpy(finer(radii[few], more(len(few)))).to(out.device)
        radius[torch.from_numpy(few).to(out.device)] = fine
    radius.log_().mul_(-2.0 * deviation * deviation).sqrt_()
    angle = sent[pairs:].float().mul_(_TURN)
    torch.mul(radius, angle.cos(), out=out[:pairs])
    second = out[pairs:]
    torch.mul(radius[: len(second)], angle.sin_()[: len(second)], out=second)
