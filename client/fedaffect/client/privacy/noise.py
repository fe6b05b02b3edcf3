"""Gaussian noise and Poisson draws that nobody can predict, and seeded ones for tests, which are not private.

Bits come from AES-256 under a key of the operating system's generator (:mod:`.keystream`), Gaussians
from them by Box and Muller (:mod:`.box_muller`, with what precision they have).

Noise in floating point can betray what it covers: which sums are representable differs with the value underneath
(Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012; Jin et al. 2022 for
Gaussians). Here both the value and the noise are rounded to whole units of a power of two near 2^-20 standard
deviations and added as integers. Every output is then reachable from every value, and rounding noise that was drawn
finely is the same as rounding the sum: the guarantee of the continuous Gaussian carries over. What rounding the value
may add to its sensitivity, half a unit a coordinate on either side, is paid for by a larger deviation (:func:`grid`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.layout import Values, as_array
from fedaffect.client.privacy.box_muller import PAIRS, BoxMuller, Words, box_muller_on
from fedaffect.client.privacy.keystream import Keystream

_GRID_BITS = 20
# Numbers at a time: what is drawn, rounded and added stays in a core's second cache.
_BLOCK = 2 * PAIRS


class NoiseSource(Protocol):
    """Where randomness that protects somebody comes from."""

    private: bool

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), shape (size,)."""

    def gaussians(self, out: Values, deviation: float = 1.0) -> None:
        """Fill ``out`` (float32, shape (N,), contiguous, on any device) with Gaussians of mean 0."""


class SecureNoise:
    """Keystream of AES-256 under a fresh key.

    Parameters
    ----------
    key : bytes, optional
        32 bytes; by default the operating system's. A given key gives the same noise again, and those who know it can
        take the noise off: only tree aggregation, which needs a node's noise twice, keeps one.
    stream : int
        Tells streams of one key apart.
    """

    private = True

    def __init__(self, key: bytes | None = None, stream: int = 0) -> None:
        self._keystream = Keystream(key, stream)
        self._bits = self._keystream.buffer(4 * _BLOCK)
        self._box_muller = BoxMuller(np.frombuffer(self._bits, dtype=np.uint32, count=_BLOCK), self._words)

    def _words(self, size: int) -> Words:
        bits = self._keystream.buffer(4 * size)
        self._keystream.fill(bits, 4 * size)
        return np.frombuffer(bits, dtype=np.uint32, count=size)

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) with 53 bits, shape (size,)."""
        bits = self._words(2 * size).view(np.uint64)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def gaussians(self, out: Values, deviation: float = 1.0) -> None:
        """Fill ``out`` with Gaussians of mean 0."""
        if not _is_here(out):
            box_muller_on(self._words(len(out) + len(out) % 2), self._words, out, deviation)
            return
        place = as_array(out)
        for start in range(0, len(place), _BLOCK):
            self._keystream.fill(self._bits, 4 * _BLOCK)
            part = place[start : start + _BLOCK]
            if len(part) == _BLOCK:
                self._box_muller.write(part, deviation)
            else:
                whole = np.empty(_BLOCK, dtype=np.float32)
                self._box_muller.write(whole, deviation)
                part[:] = whole[: len(part)]


class SeededNoise:
    """The same noise for the same seed, for tests and audits that repeat: not private.

    Parameters
    ----------
    seed : int
    """

    private = False

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._generator: Any = None
        self._uniforms = np.random.default_rng(seed)

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), shape (size,)."""
        return self._uniforms.random(size)

    def gaussians(self, out: Values, deviation: float = 1.0) -> None:
        """Fill ``out`` with Gaussians of mean 0, the same on every device; other ones where there is no torch."""
        if isinstance(out, np.ndarray):
            out[:] = np.float32(deviation) * self._uniforms.standard_normal(len(out), dtype=np.float32)
            return
        import torch

        if self._generator is None:
            self._generator = torch.Generator().manual_seed(self._seed)
        if out.device.type == "cpu":
            out.normal_(std=deviation, generator=self._generator)
        else:
            out.copy_(torch.empty(out.shape).normal_(std=deviation, generator=self._generator))


@dataclass(frozen=True, slots=True)
class Grid:
    """Units in which noise is added, and the deviation that pays for them.

    Parameters
    ----------
    unit : float
        A power of two.
    deviation : float
        Standard deviation of the noise.
    """

    unit: float
    deviation: float


def grid(noise_multiplier: float, sensitivity: float, size: int) -> Grid:
    """The grid for a sum of ``size`` numbers.

    Parameters
    ----------
    noise_multiplier : float
        z, the deviation for each unit of sensitivity that the accounting goes by.
    sensitivity : float
        C, what one example or client may change at most, in the 2-norm.
    size : int
        P. Rounding may add sqrt(P) units to C, a thousandth for a million numbers.
    """
    unit = 2.0 ** math.floor(math.log2(noise_multiplier * sensitivity) - _GRID_BITS)
    return Grid(unit, noise_multiplier * (sensitivity + unit * math.sqrt(size)))


def add_noise(
    total: Values, noise_multiplier: float, sensitivity: float, source: NoiseSource, divisor: float = 1.0
) -> None:
    """Add Gaussian noise of deviation z C to a sum, in place, on the grid, and divide.

    Parameters
    ----------
    total : Values, shape (P,)
        Changed in place.
    noise_multiplier : float
        z; 0 leaves the sum alone.
    sensitivity : float
        C.
    source : NoiseSource
    divisor : float
        What the noisy sum is divided by; must not depend on the data.
    """
    if noise_multiplier == 0:
        total /= divisor
        return
    g = grid(noise_multiplier, sensitivity, len(total))
    # Another device has no cache to stay in, and every piece costs it a handful of launches.
    size = min(_BLOCK if _is_here(total) else len(total), len(total))
    noise: Values = np.empty(size, np.float32) if isinstance(total, np.ndarray) else total.new_empty(size)
    for start in range(0, len(total), size):
        part = total[start : start + size]
        source.gaussians(noise[: len(part)], g.deviation / g.unit)
        _add_units(part, noise[: len(part)], g.unit, divisor)


def _add_units(part: Values, noise: Values, unit: float, divisor: float) -> None:
    """Make it (round(part / unit) + round(noise)) unit / divisor; the noise is lost.

    Scaling by a power of two is exact, and so is rounding; a sum of whole numbers too large for float32 is rounded
    after the addition, which takes nothing away from the guarantee.
    """
    if not _is_here(part):
        part.mul_(1.0 / unit).round_().add_(noise.round_()).mul_(unit / divisor)
        return
    # NumPy's kernels take half of torch's time.
    values, units = as_array(part), as_array(noise)
    np.multiply(values, np.float32(1.0 / unit), out=values)
    np.rint(values, out=values)
    np.add(values, np.rint(units, out=units), out=values)
    np.multiply(values, np.float32(unit / divisor), out=values)


def _is_here(values: Values) -> bool:
    """Whether values lie in this machine's own memory."""
    return isinstance(values, np.ndarray) or values.device.type == "cpu"
