"""Worse sound, pictures and words than a model learned from, made of good ones: for the test split alone.

What an encoder is given of a clip is decoded, degraded and encoded. The chance in it comes from the clip itself, so
that a clip is degraded in one way, whoever asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from io import BytesIO
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from fedaffect.edge.encoders.base import Encoder, Prepared
from fedaffect.edge.errors import ConfigError, unknown_name
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import Frames, Waveform

Source = Any
_MU: Final = 255.0
_BAND_HZ: Final = (300.0, 3400.0)
_MAX_FRAMES: Final = 150


@dataclass(frozen=True, slots=True)
class Condition:
    """One way in which one modality is worse.

    Parameters
    ----------
    modality : str
    name : str
        Of :data:`CONDITIONS`.
    amount : float
        How much, in that condition's unit.
    """

    modality: str
    name: str
    amount: float

    def __str__(self) -> str:
        return f"{self.modality}={self.name}:{self.amount:g}"


@dataclass(frozen=True, slots=True)
class _Way:
    unit: str
    least: float
    most: float
    change: Callable[[Source, float, np.random.Generator], Source]


def _noise(sound: Waveform, decibels: float, chance: np.random.Generator) -> Waveform:
    """Pink noise, which falls with frequency as that of rooms and streets does, so far below the voice."""
    spectrum = np.fft.rfft(chance.standard_normal(len(sound.samples)))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1.0))
    noise = np.fft.irfft(spectrum, len(sound.samples))
    power, own = np.mean(sound.samples.astype(np.float64) ** 2), max(float(np.mean(noise**2)), 1e-20)
    return _sound(sound, sound.samples + noise * np.sqrt(power / own / 10 ** (decibels / 10)))


def _telephone(sound: Waveform, bits: float, chance: np.random.Generator) -> Waveform:
    """300 to 3,400 Hz in so many bits of mu-law (ITU-T G.711's curve)."""
    # Here and below, not above: it takes a second to import.
    from scipy.signal import butter, sosfiltfilt

    top = min(_BAND_HZ[1], 0.45 * sound.sample_rate_hz)
    band = butter(4, (_BAND_HZ[0], top), "bandpass", fs=sound.sample_rate_hz, output="sos")
    heard = sosfiltfilt(band, sound.samples.astype(np.float64), padlen=min(64, len(sound.samples) - 1))
    loudest = max(float(np.abs(heard).max()), 1e-9)
    heard = heard / loudest
    curve = np.sign(heard) * np.log1p(_MU * np.abs(heard)) / np.log1p(_MU)
    steps = 2 ** (bits - 1)
    curve = np.round(curve * steps) / steps
    return _sound(sound, loudest * np.sign(curve) * np.expm1(np.abs(curve) * np.log1p(_MU)) / _MU)


def _room(sound: Waveform, seconds: float, chance: np.random.Generator) -> Waveform:
    """Echoes that take so long to fall by 60 dB: noise under an exponential, as loud together as what came straight."""
    from scipy.signal import fftconvolve

    times = np.arange(max(2, round(seconds * sound.sample_rate_hz))) / sound.sample_rate_hz
    echoes = chance.standard_normal(len(times)) * 10 ** (-3 * times / seconds)
    echoes[0] = 0.0
    response = echoes / max(float(np.sqrt((echoes**2).sum())), 1e-9)
    response[0] = 1.0
    return _sound(sound, fftconvolve(sound.samples.astype(np.float64), response)[: len(sound.samples)])


def _sound(sound: Waveform, samples: NDArray[np.float64]) -> Waveform:
    """Within what a sound file holds."""
    loudest = max(1.0, float(np.abs(samples).max(initial=0.0)))
    return replace(sound, samples=(samples / loudest).astype(np.float32))


def _each(frames: Frames, change: Callable[[Image.Image], Image.Image]) -> Frames:
    return replace(frames, images=np.stack([np.asarray(change(Image.fromarray(image))) for image in frames.images]))


def _blur(frames: Frames, percent: float, chance: np.random.Generator) -> Frames:
    """Gaussian, its deviation in percent of the shorter side."""
    radius = percent / 100 * min(frames.images.shape[1:3])
    return _each(frames, lambda image: image.filter(ImageFilter.GaussianBlur(radius)))


def _dark(frames: Frames, stops: float, chance: np.random.Generator) -> Frames:
    """So many stops less light, with the noise of a sensor that counts few photons."""
    light = (frames.images / 255.0) ** 2.2 / 2**stops * 1000
    counted = chance.poisson(light) / 1000
    return replace(frames, images=(255 * np.clip(counted, 0, 1) ** (1 / 2.2)).round().astype(np.uint8))


def _jpeg(frames: Frames, quality: float, chance: np.random.Generator) -> Frames:
    def compressed(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=round(quality))
        return Image.open(file).convert("RGB")

    return _each(frames, compressed)


def _covered(frames: Frames, share: float, chance: np.random.Generator) -> Frames:
    """Grey over that share of each picture's height, from below: a mask, a hand, a cup."""
    images = frames.images.copy()
    images[:, round((1 - share) * images.shape[1]) :] = 128
    return replace(frames, images=images)


def _lost(text: str, share: float, chance: np.random.Generator) -> str:
    """Words that a recogniser does not hear; one is left."""
    words = text.split()
    kept = [word for word, fate in zip(words, chance.random(len(words)), strict=True) if fate >= share]
    return " ".join(kept or words[:1])


CONDITIONS: Final[Mapping[str, Mapping[str, _Way]]] = MappingProxyType(
    {
        "audio": {
            "noise": _Way("dB of voice over pink noise", -20, 60, _noise),
            "telephone": _Way("bits of mu-law, 300 to 3,400 Hz", 2, 16, _telephone),
            "room": _Way("seconds of echo", 0.05, 5, _room),
        },
        "video": {
            "blur": _Way("percent of the shorter side", 0.1, 20, _blur),
            "dark": _Way("stops less light", 0.5, 10, _dark),
            "jpeg": _Way("quality", 1, 95, _jpeg),
            "covered": _Way("share of the height, from below", 0.05, 0.95, _covered),
        },
        "text": {"lost": _Way("share of words", 0.01, 0.99, _lost)},
    }
)


def read_conditions(given: Iterable[str]) -> tuple[Condition, ...]:
    """Conditions such as ``audio=noise:10``; several of one modality act one after the other.

    Raises
    ------
    ConfigError
        If one is unknown, or its amount is out of range.
    """
    return tuple(_read(one) for one in given)


def _read(one: str) -> Condition:
    modality, _, rest = one.partition("=")
    name, _, amount = rest.partition(":")
    if modality not in CONDITIONS:
        raise unknown_name("modality to degrade", modality, CONDITIONS)
    if name not in CONDITIONS[modality]:
        raise unknown_name(f"way to degrade {modality}", name, CONDITIONS[modality])
    way = CONDITIONS[modality][name]
    try:
        value = float(amount)
    except ValueError:
        value = float("nan")
    if not way.least <= value <= way.most:
        raise ConfigError(
            f"--degrade-test {one}: give {modality}={name}:N with N from {way.least:g} to {way.most:g} ({way.unit})"
        )
    return Condition(modality, name, value)


class Degraded:
    """An encoder that is given worse sources; see `fedaffect.edge.encoders.base.Encoder`.

    Parameters
    ----------
    encoder : Encoder
        What it is given is decoded by this class.
    conditions : sequence of Condition
        Of its modality, one after the other.
    """

    def __init__(self, encoder: Encoder, conditions: Sequence[Condition]) -> None:
        self.modality, self.width = encoder.modality, encoder.width
        self.tokens_per_second = encoder.tokens_per_second
        self.key = sha256(" ".join([encoder.key, "degraded 1", *map(str, conditions)]).encode()).hexdigest()
        self._encoder = encoder
        self._conditions = tuple(conditions)

    def prepare(self, source: Source) -> Prepared:
        """Of the degraded source.

        Raises
        ------
        DataError
            If it cannot be read.
        """
        decoded, content = self._decoded(source)
        chance = np.random.default_rng(int.from_bytes(sha256(content).digest()[:8]))
        for condition in self._conditions:
            way = CONDITIONS[condition.modality][condition.name]
            decoded = way.change(decoded, condition.amount, chance)
        return self._encoder.prepare(decoded)

    def encode(self, batch: Sequence[Prepared]) -> list[NDArray[np.float32]]:
        """As the encoder does."""
        return self._encoder.encode(batch)

    def _decoded(self, source: Source) -> tuple[Source, bytes]:
        """A source in memory, and the bytes that stand for it."""
        if self.modality == "audio":
            sound = decode_audio(source)
            return sound, sound.samples.tobytes()
        if self.modality == "video":
            frames = decode_video(source, self.tokens_per_second, _MAX_FRAMES)
            return frames, frames.images[:1].tobytes()
        return source, source.encode()
