import math

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from scipy import stats

from fedaffect.client.privacy.box_muller import PAIRS, BoxMuller, Words, box_muller_on, finer
from fedaffect.client.privacy.keystream import Keystream
from fedaffect.client.privacy.noise import SecureNoise, SeededNoise, add_noise, grid


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


@pytest.mark.slow
def test_the_tail_is_as_long_as_it_should_be() -> None:
    """Of 24 bits alone the largest Gaussian would be 5.8, and those beyond 5 too few or too many."""
    low = np.arange(4, dtype=np.uint32) * np.uint32(1 << 30)
    high = np.zeros(4, dtype=np.uint32)
    radii = np.sqrt(-2 * np.log(finer(high, low).astype(np.float64)))
    assert radii[0] == pytest.approx(math.sqrt(2 * 65 * math.log(2)), rel=1e-6)
    assert np.all(np.diff(radii) < 0)
    out = torch.empty(1 << 24)
    SecureNoise().gaussians(out)
    for bound in (2.0, 3.0, 4.0, 4.5, 5.0):
        expected = len(out) * 2 * stats.norm.sf(bound)
        beyond = int((out.abs() > bound).sum())
        # Six deviations of a count: one run in a billion fails by chance.
        assert abs(beyond - expected) < 6 * math.sqrt(expected), bound


def test_small_uniforms_are_refined_and_no_others() -> None:
    """Words below 2^20 take another word below them; where there are none, nothing more is drawn."""
    asked: list[int] = []

    def more(size: int) -> Words:
        asked.append(size)
        return np.full(size, 1 << 31, dtype=np.uint32)

    words = np.full(2 * PAIRS, 1 << 31, dtype=np.uint32)
    words[PAIRS:] = 0  # cos 1, sin 0
    out = np.empty(2 * PAIRS, dtype=np.float32)
    BoxMuller(words, more).write(out, 2.0)
    assert out[:PAIRS] == pytest.approx(2 * math.sqrt(2 * math.log(2)), rel=1e-6)
    words[7], words[8] = 0, (1 << 20) - 1
    BoxMuller(words, more).write(out, 2.0)
    assert [n for n in asked if n] == [2]
    assert out[7] == pytest.approx(2 * math.sqrt(2 * 33 * math.log(2)), rel=1e-6)
    assert out[8] == pytest.approx(2 * math.sqrt(2 * 12 * math.log(2)), rel=1e-5)


def test_pairs_are_independent_in_size_too() -> None:
    """Both of a pair share a radius: only with an even angle are they, and their squares, uncorrelated."""
    out = torch.empty(1 << 20)
    SecureNoise().gaussians(out)
    pairs = out.double().numpy().reshape(-1, 2, PAIRS).transpose(1, 0, 2).reshape(2, -1)
    limit = 6 / math.sqrt(pairs.shape[1])
    for power in (1, 2, 3):
        assert abs(np.corrcoef(pairs[0] ** power, pairs[1] ** power)[0, 1]) < limit * (5 if power == 3 else 1)
    neighbours = np.corrcoef(out[:-1].double(), out[1:].double())[0, 1]
    assert abs(neighbours) < 6 / math.sqrt(len(out))
    assert float(out.double().var()) == pytest.approx(1.0, abs=6 * math.sqrt(2 / len(out)))


def test_another_device_turns_the_same_words_into_the_same_noise() -> None:
    here, there = torch.empty(2 * PAIRS), torch.empty(2 * PAIRS)
    SecureNoise(bytes(32)).gaussians(here, 3.0)
    source = SecureNoise(bytes(32))
    box_muller_on(source._words(2 * PAIRS), source._words, there, 3.0)
    torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)
    odd = torch.empty(101)
    box_muller_on(source._words(102), source._words, odd, 1.0)
    assert bool(torch.isfinite(odd).all())


def test_a_nonce_is_left_before_its_bits_run_out() -> None:
    """Counter mode under one nonce ends after 2^36 bytes; the next nonce shares none of them."""
    keystream, again = Keystream(bytes(32)), Keystream(bytes(32))
    first, then = keystream.buffer(64), keystream.buffer(64)
    keystream.fill(first, 64)
    keystream._left = 32
    keystream.fill(then, 64)
    whole = again.buffer(128)
    again.fill(whole, 128)
    assert first[:64] == whole[:64]
    assert then[:64] != whole[64:128]
    assert keystream._nonces == 2


def test_bits_are_those_of_counter_mode() -> None:
    """Galois/counter mode starts at 2, counter 1 being the tag's."""
    keystream = Keystream(bytes(32), stream=5)
    bits = keystream.buffer(4096)
    keystream.fill(bits, 4096)
    counter = (5).to_bytes(8, "big") + bytes(4) + (2).to_bytes(4, "big")
    plain = Cipher(algorithms.AES(bytes(32)), modes.CTR(counter)).encryptor().update(bytes(4096))
    assert bytes(bits[:4096]) == plain
