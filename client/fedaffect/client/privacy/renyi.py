"""Renyi privacy of the sampled Gaussian mechanism, in plain Python: a device accounts without Opacus or SciPy.

Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism" (2019), section 3.3: with a
sampling rate q and a noise multiplier z, the divergence at order a is log(A_a) / (a - 1).
"""

from __future__ import annotations

import itertools
import math

# Terms below exp(-30) of the series for orders that are no whole numbers change nothing.
_LEAST_TERM = -30.0
# From here on the asymptotic series of erfc has full precision; math.erfc underflows a little above.
_FAR = 20.0


def divergence(sample_rate: float, noise_multiplier: float, order: float) -> float:
    """Of one step, adding or removing one example.

    Parameters
    ----------
    sample_rate : float
        q, in [0, 1].
    noise_multiplier : float
        z; 0 gives infinity.
    order : float
        a, above 1.
    """
    q, z = sample_rate, noise_multiplier
    if q == 0:
        return 0.0
    if z == 0:
        return math.inf
    if q == 1.0:
        return order / (2 * z**2)
    log_a = _whole(q, z, int(order)) if float(order).is_integer() else _between(q, z, order)
    return log_a / (order - 1)


def _whole(q: float, z: float, order: int) -> float:
    """Log of sum_k C(a, k) (1 - q)^(a - k) q^k exp((k^2 - k) / 2 z^2)."""
    terms = [
        math.log(math.comb(order, k)) + k * math.log(q) + (order - k) * math.log1p(-q) + (k * k - k) / (2 * z**2)
        for k in range(order + 1)
    ]
    largest = max(terms)
    return largest + math.log(math.fsum(math.exp(term - largest) for term in terms))


def _between(q: float, z: float, order: float) -> float:
    """Their equations for orders between: two series, of the integral below z_0 and above."""
    # Sums of positive and of negative terms, in logarithms.
    sums = {1: -math.inf, -1: -math.inf}
    middle = z**2 * math.log(1 / q - 1) + 0.5
    coefficient = 1.0
    for i in itertools.count():
        j = order - i
        log_coefficient = math.log(abs(coefficient))
        below = log_coefficient + i * math.log(q) + j * math.log1p(-q) + (i * i - i) / (2 * z**2)
        above = log_coefficient + j * math.log(q) + i * math.log1p(-q) + (j * j - j) / (2 * z**2)
        below += math.log(0.5) + _log_erfc((i - middle) / (math.sqrt(2) * z))
        above += math.log(0.5) + _log_erfc((middle - j) / (math.sqrt(2) * z))
        sign = 1 if coefficient > 0 else -1
        sums[sign] = _log_add(sums[sign], _log_add(below, above))
        if max(below, above) < _LEAST_TERM:
            break
        coefficient *= j / (i + 1)
    # Where rounding left nothing of the difference, this order proves nothing.
    return sums[1] + math.log1p(-math.exp(sums[-1] - sums[1])) if sums[-1] < sums[1] else math.inf


def _log_add(one: float, other: float) -> float:
    low, high = min(one, other), max(one, other)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _log_erfc(x: float) -> float:
    if x < _FAR:
        return math.log(math.erfc(x))
    # Abramowitz and Stegun 7.1.23.
    y = 1 / (2 * x * x)
    return -x * x - math.log(x * math.sqrt(math.pi)) + math.log1p(-y + 3 * y**2 - 15 * y**3 + 105 * y**4)
