"""Voice of the synthetic corpus: a harmonic source through formants, in syllables, like speech without words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.sample import Waveform

SAMPLE_RATE_HZ = 16_000
_HOP = 80  # 5 ms, over which pitch and formants stand still
_HARMONICS = 24

# First three formants, Hz, of the vowels in: bad, bed, see, law, you, bird (Peterson and Barney 1952, men).
_VOWELS = np.array(
    [[660, 1720, 2410], [530, 1840, 2480], [270, 2290, 3010], [570, 840, 2410], [300, 870, 2240], [490, 1350, 1690]],
    dtype=np.float64,
)
_BANDWIDTHS_HZ = np.array([90.0, 110.0, 170.0])


@dataclass(frozen=True, slots=True)
class VoiceStyle:
    """How one speaker sounds when calm.

    Parameters
    ----------
    pitch_hz : float
        Base of the melody.
    tract : float
        Formants relative to a grown man's; shorter vocal tracts have higher ones.
    syllables_per_second : float
        Tempo.
    breath : float
        Noise in the source, relative to its tone.
    loudness : float
        Amplitude.
    """

    pitch_hz: float
    tract: float
    syllables_per_second: float
    breath: float
    loudness: float


@dataclass(frozen=True, slots=True)
class VoiceCue:
    """How the mood of one utterance bends that style.

    Parameters
    ----------
    arousal : float
        -1 (low, slow, soft) to 1 (high, fast, loud, bright).
    valence : float
        -1 (falling melody) to 1 (rising, wide melody); a weak cue.
    """

    arousal: float
    valence: float


def speak(style: VoiceStyle, cue: VoiceCue, rng: np.random.Generator) -> Waveform:
    """About 1 to 1.6 seconds of voiced syllables.

    Source and filter after Fant, Acoustic Theory of Speech Production, 1960: harmonics of a gliding
    pitch, weighted by the glottis's slope and by a resonance at each formant.
    """
    tempo = style.syllables_per_second * 2 ** (0.30 * cue.arousal)
    count = int(np.clip(round(1.25 * tempo), 3, 8))
    frames = round(count / tempo * SAMPLE_RATE_HZ / _HOP)
    place = np.linspace(0, 1, frames, endpoint=False)

    # Every syllable has a vowel; formants glide between them.
    vowels = _VOWELS[rng.integers(len(_VOWELS), size=count)] * style.tract  # (syllables, 3)
    centres = (np.arange(count) + 0.5) / count
    formants = np.stack([np.interp(place, centres, vowels[:, f]) for f in range(3)], axis=1)  # (T, 3)

    octaves = 0.40 * cue.arousal + (0.10 + 0.10 * max(cue.arousal, 0) + 0.08 * abs(cue.valence)) * _melody(place, rng)
    octaves += cue.valence * 0.18 * (place - 0.5) + 0.06 * rng.standard_normal()
    pitch_hz = style.pitch_hz * 2**octaves  # (T,)

    within = place * count % 1
    envelope = np.sin(np.pi * within) ** (0.7 - 0.25 * cue.arousal) * np.interp(place, [0, 0.05, 0.9, 1], [0, 1, 1, 0])
    stress = rng.uniform(0.6, 1.0, size=count)[np.minimum((place * count).astype(int), count - 1)]

    amplitudes = _spectrum(pitch_hz, formants, tilt=2.0 - 0.5 * cue.arousal)  # (T, harmonics)
    amplitudes *= (envelope * stress)[:, None]
    tone = _harmonics(pitch_hz, amplitudes)
    noise = rng.standard_normal(tone.size) * np.repeat(envelope, _HOP) * style.breath * np.std(tone)
    sound = tone + noise
    level = style.loudness * 2 ** (0.7 * cue.arousal) / (np.max(np.abs(sound)) + 1e-9)
    sound = np.clip(sound * level, -1, 1) + 0.002 * rng.standard_normal(sound.size)
    return Waveform(np.clip(sound, -1, 1).astype(np.float32), SAMPLE_RATE_HZ)


def _melody(place: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """A smooth curve of unit size over the utterance, shape (T,)."""
    phases = rng.uniform(0, 2 * np.pi, size=2)
    curve: NDArray[np.float64] = 0.7 * np.sin(2 * np.pi * 1.5 * place + phases[0])
    curve += 0.5 * np.sin(2 * np.pi * 3 * place + phases[1])
    return curve


def _spectrum(pitch_hz: NDArray[np.float64], formants: NDArray[np.float64], tilt: float) -> NDArray[np.float64]:
    """Amplitude of each harmonic in each hop, shape (T, harmonics)."""
    order = np.arange(1, _HARMONICS + 1)
    frequency = pitch_hz[:, None] * order  # (T, H)
    away = (frequency[:, :, None] - formants[:, None, :]) / _BANDWIDTHS_HZ  # (T, H, 3)
    resonance = (np.array([1.0, 0.7, 0.4]) / (1 + away**2)).sum(axis=2) + 0.03
    spectrum: NDArray[np.float64] = resonance / order ** (tilt / 2) * (frequency < SAMPLE_RATE_HZ / 2 - 400)
    return spectrum


def _harmonics(pitch_hz: NDArray[np.float64], amplitudes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of harmonics, shape (T * hop,)."""
    frames = len(pitch_hz)
    at_samples = np.interp(np.arange(frames * _HOP) / _HOP, np.arange(frames) + 0.5, pitch_hz)
    phase = 2 * np.pi * np.cumsum(at_samples) / SAMPLE_RATE_HZ
    wave = np.sin(phase).astype(np.float32)
    twice_cosine = (2 * np.cos(phase)).astype(np.float32)
    before = np.zeros_like(wave)
    total = np.zeros((frames, _HOP), dtype=np.float32)
    # sin((k + 1) x) = 2 cos(x) sin(k x) - sin((k - 1) x): one sine and one cosine serve all harmonics.
    for harmonic in amplitudes.T.astype(np.float32):
        total += wave.reshape(frames, _HOP) * harmonic[:, None]
        before, wave = wave, twice_cosine * wave - before
    return total.ravel().astype(np.float64)
