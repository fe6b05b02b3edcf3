"""Voice to feature vectors: a speech network's middle layers, pooled into tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge import tokens
from fedaffect.edge.encoders.base import Prepared, map_each
from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.log_mel import log_mel
from fedaffect.edge.media.sound import (
    MAX_SECONDS,
    decode_audio,
    duration_s,
    normalise_loudness,
    require_sound,
    resample,
)
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ, VoiceDetector, trim
from fedaffect.edge.sample import Audio, Waveform
from fedaffect.edge.system.onnx_session import open_session

FRONT_ENDS = ("log_mel", "waveform")


@dataclass(frozen=True, slots=True)
class SpeechSettings:
    """How sound is prepared and its features pooled.

    Parameters
    ----------
    front_end : {"log_mel", "waveform"}
        What the network takes: Whisper's log-mel (bands, T) or samples (N,).
    frames_per_second : float
        Vectors a second that the network gives.
    tokens_per_second : float
        Tokens a second after pooling.
    statistics : {"mean", "mean_std"}
        Of a window, what becomes the token.
    mel_bands : int
        For ``log_mel``.
    standardise : bool
        For ``waveform``: zero mean and unit variance, as some networks were trained.
    loudness_dbfs : float
        Level that voiced sound is brought to.
    voice_threshold, voice_margin_s : float
        Silence before and after speech is cut to this margin; see `VoiceDetector.trim`.
    min_seconds, max_seconds : float
        Shorter sounds are padded with silence, of longer ones the beginning is taken.
    """

    front_end: str
    frames_per_second: float = 50.0
    tokens_per_second: float = 2.5
    statistics: str = "mean_std"
    mel_bands: int = 80
    standardise: bool = False
    loudness_dbfs: float = -23.0
    voice_threshold: float = 0.5
    voice_margin_s: float = 0.1
    min_seconds: float = 0.2
    max_seconds: float = MAX_SECONDS

    def __post_init__(self) -> None:
        if self.front_end not in FRONT_ENDS:
            raise BundleError(f"unknown speech front end {self.front_end!r}; known: {', '.join(FRONT_ENDS)}")
        if not 0 < self.min_seconds < self.max_seconds <= MAX_SECONDS:
            raise BundleError(
                f"sounds of {self.min_seconds} to {self.max_seconds} s: use 0 < min < max <= {MAX_SECONDS}"
            )


class SpeechEncoder:
    """Runs a speech network; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    network : Path
        ONNX from ``log_mel`` (B, bands, T) or ``waveform`` (B, N) to features (B, T', W).
    voice : Path
        Silero VAD.
    settings : SpeechSettings
        Preprocessing and pooling.
    width, key
        As the bundle's manifest says.
    threads : int
        Clips encoded at a time.
    scale : Scale, optional
        Standardises the tokens.
    """

    modality = "audio"

    def __init__(
        self,
        network: Path,
        voice: Path,
        settings: SpeechSettings,
        *,
        width: int,
        key: str,
        threads: int = 1,
        scale: Scale | None = None,
    ) -> None:
        self.width = width
        self.key = key
        self.tokens_per_second = settings.tokens_per_second
        self.settings = settings
        self._threads = threads
        self._scale = scale
        self._session = open_session(network)
        self.voice = VoiceDetector(voice)

    def prepare(self, source: Any) -> Prepared:
        """Decoded, mono, 16 kHz, trimmed to speech, levelled; then log-mel (bands, T) or samples (N,).

        Raises
        ------
        DataError
            If it cannot be read, or is silent.
        """
        sound = hear(source, self.settings)
        require_sound(sound)
        return prepare_sound(sound, self.voice.probabilities(sound.samples), self.settings)

    def frames(self, prepared: Prepared) -> NDArray[np.float32]:
        """The network's own output before pooling, shape (T', W)."""
        features: NDArray[np.float32] = self._session.run(None, {self.settings.front_end: prepared.values[None]})[0][0]
        return features

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """Tokens of each clip, shape (T_i, width)."""
        return map_each(self._encode, batch, self._threads)

    def _encode(self, prepared: Prepared) -> NDArray[np.float32]:
        settings = self.settings
        pooled = tokens.resample(
            self.frames(prepared), settings.frames_per_second, settings.tokens_per_second, settings.statistics
        )
        return pooled if self._scale is None else self._scale(pooled)


def prepare_speech(source: Audio, settings: SpeechSettings, voice: VoiceDetector) -> Prepared:
    """What a speech network takes: sound decoded, mono, 16 kHz, trimmed to speech and levelled.

    Parameters
    ----------
    source : Path, bytes, ZipMember or Waveform
    settings : SpeechSettings
    voice : VoiceDetector
        Finds where speech begins and ends.

    Returns
    -------
    Prepared
        Log-mel (bands, T) or samples (N,), as the settings say.

    Raises
    ------
    DataError
        If it cannot be read.
    """
    sound = hear(source, settings)
    return prepare_sound(sound, voice.probabilities(sound.samples), settings)


def hear(source: Audio, settings: SpeechSettings) -> Waveform:
    """Sound decoded, mono, 16 kHz; see `prepare_speech`."""
    return resample(decode_audio(source, settings.max_seconds), SAMPLE_RATE_HZ)


def prepare_sound(sound: Waveform, voiced: NDArray[np.float32], settings: SpeechSettings) -> Prepared:
    """The rest of `prepare_speech`, where it is known already when somebody speaks.

    Parameters
    ----------
    sound : Waveform
        Mono, 16 kHz.
    voiced : float32 array, shape (ceil(N / 512),)
        Probability that somebody speaks, see `VoiceDetector.probabilities`.
    settings : SpeechSettings
    """
    sound = trim(sound, voiced, settings.voice_threshold, settings.voice_margin_s)
    sound = normalise_loudness(sound, settings.loudness_dbfs)
    samples = sound.samples
    shortest = round(settings.min_seconds * SAMPLE_RATE_HZ)
    if len(samples) < shortest:
        samples = np.pad(samples, (0, shortest - len(samples)))
    seconds = duration_s(Waveform(samples, SAMPLE_RATE_HZ))
    if settings.front_end == "log_mel":
        return Prepared(log_mel(samples, settings.mel_bands), seconds)
    if settings.standardise:
        samples = (samples - samples.mean()) / np.sqrt(samples.var() + 1e-7)
    return Prepared(samples.astype(np.float32), seconds)
