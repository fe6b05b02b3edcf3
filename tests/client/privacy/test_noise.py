import math

import numpy as np
import pytest
import torch
from scipy import stats

from client.privacy.noise import SecureNoise, SeededNoise, add_noise, grid


def test_secure_noise_is_gaussian() -> None:
    out = torch.empty(200_000)
    SecureNoise().gaussians(out, 3.0)
    values = out.double().numpy() / 3.0
    # Fresh every time: the threshold is one in a million.
    assert stats.kstest(values, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(values[:100_000], values[100_000:])[0, 1]) < 0.02
    assert 4.0 < np.abs(values).max() < 8.6


def test_secure_noise_never_comes_again_and_seeded_noise_does() -> None:
    first, second = torch.empty(1000), torch.empty(1000)
    SecureNoise().gaussians(first)
    SecureNoise().gaussians(second)
    assert not torch.equal(first, second)
    assert SecureNoise.private
    assert not SeededNoise.private
    SeededNoise(3).gaussians(first)
    SeededNoise(3).gaussians(second)
    assert torch.equal(first, second)


def test_a_key_gives_its_noise_again_and_streams_share_none_of_it() -> None:
    made = [torch.empty(1000) for _ in range(3)]
    for out, stream in zip(made, (0, 0, 1), strict=True):
        SecureNoise(bytes(32), stream).gaussians(out)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])
    # Counters of neighbouring streams a block apart would have all but the first numbers in common.
    first, second = (set(SecureNoise(bytes(32), stream).uniforms(5000).tolist()) for stream in (0, 1))
    assert not first & second


def test_uniforms_fill_the_interval() -> None:
    values = SecureNoise().uniforms(50_000)
    assert values.min() >= 0
    assert values.max() < 1
    assert stats.kstest(values, "uniform").pvalue > 1e-6


@pytest.mark.parametrize("size", [1, 1000, (1 << 15) + 17])
def test_noise_has_the_deviation_that_accounting_goes_by_and_a_little_more(size: int) -> None:
    g = grid(1.3, 0.7, size)
    assert 1.3 * 0.7 <= g.deviation < 1.3 * 0.7 * 1.002
    assert math.log2(g.unit) == int(math.log2(g.unit))
    total = torch.zeros(size)
    add_noise(total, 1.3, 0.7, SeededNoise(0))
    if size > 10_000:
        assert float(total.std()) == pytest.approx(g.deviation, rel=0.02)


def test_every_output_is_a_whole_number_of_units() -> None:
    """Else which floats can come out would tell what lies underneath (Mironov 2012)."""
    g = grid(1.0, 1.0, 5000)
    for value in (0.0, 1e-5, 0.3, 7.7):
        total = torch.full((5000,), value)
        add_noise(total, 1.0, 1.0, SecureNoise())
        units = total.double() / g.unit
        assert torch.equal(units, units.round())
    # Without the grid it would tell: sums of a value and float noise are no multiples of a common unit.
    plain = torch.full((5000,), 0.3) + torch.randn(5000)
    assert not torch.equal((plain.double() / g.unit).round(), plain.double() / g.unit)


def test_a_fixed_divisor_comes_after_the_noise() -> None:
    whole, divided = torch.ones(100), torch.ones(100)
    add_noise(whole, 1.0, 1.0, SeededNoise(1))
    add_noise(divided, 1.0, 1.0, SeededNoise(1), 16.0)
    torch.testing.assert_close(divided, whole / 16)
    add_noise(whole, 0.0, 1.0, SeededNoise(1), 2.0)
    torch.testing.assert_close(whole, divided * 8)
