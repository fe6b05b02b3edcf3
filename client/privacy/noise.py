"""Gaussian noise and Poisson draws that nobody can predict, and seeded ones for tests, which are not private.

Bits come from AES-256 in counter mode under a key of the operating system's generator (NIST SP 800-90A builds its
generators the same way), Gaussians from them by Box and Muller.

Noise in floating point can betray what it covers: which sums are representable differs with the value underneath
(Mironov, "On Significance of the Least Significant Bits for Differential Privacy", CCS 2012; Jin et al. 2022 for
Gaussians). Here both the value and the noise are rounded to whole units of a power of two near 2^-20 standard
deviations and added as integers. Every output is then reachable from every value, and rounding noise that was drawn
finely is the same as rounding the sum: the guarantee of the continuous Gaussian carries over. What rounding the value
may add to its sensitivity, half a unit a coordinate on either side, is paid for by a larger deviation (:func:`grid`).
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray
from torch import Tensor

_GRID_BITS = 20
# Numbers at a time: what is drawn, rounded and added stays in a core's second cache.
_BLOCK = 1 << 15
_HALF = _BLOCK // 2
# Of each pair of Gaussians: 8 bytes give the radius, 4 the angle.
_PAIR_BYTES = 12
_MANTISSA = (1 << 52) - 1
_ONE = 0x3FF0000000000000
_LARGEST_KEYSTREAM = 1 << 36


class NoiseSource(Protocol):
    """Where randomness that protects somebody comes from."""

    private: bool

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), shape (size,)."""

    def gaussians(self, out: Tensor, deviation: float = 1.0) -> None:
        """Fill ``out`` (float32, contiguous, on the CPU) with Gaussians of mean 0."""


class SecureNoise:
    """Keystream of AES-256 under a fresh key.

    Parameters
    ----------
    key : bytes, optional
        32 bytes; by default the operating system's. A given key gives the same noise again, and whoever knows it can
        take the noise off: only tree aggregation, which needs a node's noise twice, keeps one.
    stream : int
        Tells streams of one key apart, each of 2^64 blocks.
    """

    private = True

    def __init__(self, key: bytes | None = None, stream: int = 0) -> None:
        self._fixed = key is not None
        self._open(os.urandom(32) if key is None else key, stream)
        self._zeros = bytes(_HALF * _PAIR_BYTES)
        # Ciphers want room for one more block than they write.
        self._bits = bytearray(_HALF * _PAIR_BYTES + 16)
        self._radius_bits = torch.frombuffer(self._bits, dtype=torch.int64, count=_HALF)
        self._angle_bits = torch.frombuffer(self._bits, dtype=torch.int32, count=_HALF, offset=8 * _HALF)
        self._integers = torch.empty(_HALF, dtype=torch.int64)
        self._radius, self._angle, self._wave = (torch.empty(_HALF) for _ in range(3))

    def _open(self, key: bytes, stream: int) -> None:
        counter = stream.to_bytes(8, "big") + bytes(8)
        self._stream = Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor()
        self._drawn = 0

    def _count(self, size: int) -> None:
        # Long before counter mode could be told from random bits.
        self._drawn += size
        if self._drawn > _LARGEST_KEYSTREAM and not self._fixed:
            self._open(os.urandom(32), 0)

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1) with 53 bits, shape (size,)."""
        self._count(8 * size)
        bits = np.frombuffer(self._stream.update(bytes(8 * size)), dtype=np.uint64)
        return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53

    def gaussians(self, out: Tensor, deviation: float = 1.0) -> None:
        """Fill ``out`` with s sqrt(-2 ln u) cos(v) and s sqrt(-2 ln u) sin(v), 52 bits of u and 32 of v."""
        square = -2.0 * deviation * deviation
        for start in range(0, out.numel(), _BLOCK):
            place = out[start : start + _BLOCK]
            if place.numel() == _BLOCK:
                self._block(place[:_HALF], place[_HALF:], square)
            else:
                whole = torch.empty(_BLOCK)
                self._block(whole[:_HALF], whole[_HALF:], square)
                place.copy_(whole[: place.numel()])

    def _block(self, first: Tensor, second: Tensor, square: float) -> None:
        self._count(len(self._zeros))
        self._stream.update_into(self._zeros, self._bits)
        # Bits under the exponent of 1 are a number in [1, 2); its distance to 2 is u in (0, 1].
        torch.bitwise_and(self._radius_bits, _MANTISSA, out=self._integers).bitwise_or_(_ONE)
        self._radius.copy_(self._integers.view(torch.float64).neg_().add_(2.0))
        self._radius.log_().mul_(square).sqrt_()
        self._angle.copy_(self._angle_bits).mul_(2 * math.pi / 2**32)
        torch.mul(self._radius, torch.cos(self._angle, out=self._wave), out=first)
        torch.mul(self._radius, torch.sin(self._angle, out=self._wave), out=second)


class SeededNoise:
    """The same noise for the same seed, for tests and audits that repeat: not private.

    Parameters
    ----------
    seed : int
    """

    private = False

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._uniforms = np.random.default_rng(seed)

    def uniforms(self, size: int) -> NDArray[np.float64]:
        """Numbers in [0, 1), shape (size,)."""
        return self._uniforms.random(size)

    def gaussians(self, out: Tensor, deviation: float = 1.0) -> None:
        """Fill ``out`` with Gaussians of mean 0."""
        out.normal_(std=deviation, generator=self._generator)


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
    total: Tensor, noise_multiplier: float, sensitivity: float, source: NoiseSource, divisor: float = 1.0
) -> None:
    """Add Gaussian noise of deviation z C to a sum, in place, on the grid, and divide.

    Parameters
    ----------
    total : Tensor of float32, shape (P,)
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
        total.div_(divisor)
        return
    g = grid(noise_multiplier, sensitivity, total.numel())
    block = torch.empty(min(_BLOCK, total.numel()))
    for start in range(0, total.numel(), _BLOCK):
        part = total[start : start + _BLOCK]
        noise = block[: part.numel()]
        source.gaussians(noise, g.deviation / g.unit)
        noise.round_()
        # Scaling by a power of two is exact, and so is rounding; a sum of whole numbers too large for float32 is
        # rounded after the addition, which takes nothing away from the guarantee.
        units = part.mul_(1.0 / g.unit).round_()
        units.add_(noise.to(part.device)).mul_(g.unit / divisor)
