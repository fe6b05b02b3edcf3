"""Acoustic features of sounds whose pitch, level and noise are known."""

import numpy as np
import pytest

from fedaffect.client.corpora.synthetic_voice import VoiceCue, VoiceStyle, speak
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Waveform
from fedaffect.simulation.preparing.acoustics import WIDTH, Acoustics, denoised, descriptors, pitch

RATE = 16_000
PITCH, VOICING, ENERGY = -2, -1, -3


def tone(hz: float, seconds: float = 1.0) -> np.ndarray:
    """A voice-like tone: five harmonics."""
    t = np.arange(round(RATE * seconds)) / RATE
    return sum(np.sin(2 * np.pi * hz * k * t) / k for k in range(1, 6))


@pytest.mark.parametrize("hz", [80.0, 140.0, 200.0, 400.0])
def test_pitch_of_a_tone_is_its_own(hz: float) -> None:
    found = pitch(tone(hz), 100)[5:-5]
    np.testing.assert_allclose(found[:, 0], np.log2(hz / 100), atol=0.05)
    assert (found[:, 1] > 0.9).all()


def test_noise_has_no_pitch() -> None:
    found = pitch(np.random.default_rng(0).normal(size=RATE), 100)
    assert np.mean(found[:, 0] != 0) < 0.1


def test_descriptors_follow_level_and_are_finite_for_a_click() -> None:
    loud, soft = descriptors(tone(150.0)), descriptors(0.1 * tone(150.0))
    assert loud.shape == (100, WIDTH)
    np.testing.assert_allclose((loud - soft)[10:-10, ENERGY], 2.0, atol=1e-2)
    np.testing.assert_allclose(loud[10:-10, 1:40], soft[10:-10, 1:40], atol=1e-3)
    # Nothing moves in a steady tone.
    assert np.abs(loud[15:-15, 40:80]).max() < 0.1 * np.abs(loud[15:-15, :40]).max()
    assert np.isfinite(descriptors(np.array([0.5], np.float32))).all()


def test_noise_between_words_is_turned_down_and_words_are_not() -> None:
    rng = np.random.default_rng(0)
    power = rng.exponential(size=(100, 201))
    power[30:60, 20:60] += 1000.0
    clean = denoised(power)
    assert clean[32:58, 22:58].sum() > 0.99 * power[32:58, 22:58].sum()
    assert clean[70:].sum() < 0.3 * power[70:].sum()


def test_as_an_encoder_it_hears_a_voice_and_refuses_silence() -> None:
    encoder = Acoustics()
    style = VoiceStyle(pitch_hz=200.0, tract=1.1, syllables_per_second=4.0, breath=0.05, loudness=0.3)
    sound = speak(style, VoiceCue(0.0, 0.0), np.random.default_rng(0))
    one, two = encoder.encode([encoder.prepare(sound), encoder.prepare(sound)])
    assert one.shape[1] == WIDTH
    assert abs(len(one) - len(sound.samples) / RATE * 10) <= 1
    np.testing.assert_array_equal(one, two)
    voiced = one[one[:, VOICING] > 0.7, PITCH]
    assert abs(np.median(voiced) - 1.0) < 0.4
    with pytest.raises(DataError):
        encoder.prepare(Waveform(np.zeros(RATE, np.float32), RATE))
