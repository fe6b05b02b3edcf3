"""Speech encoders: Whisper tiny.en's middle layers from their package, or Wav2Vec2, HuBERT, WavLM, Whisper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import AutoFeatureExtractor

from fedaffect.edge.bundle import Source
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.log_mel import log_mel
from fedaffect.edge.media.voice import SAMPLE_RATE_HZ
from fedaffect.edge.tokens import pooled_width
from fedaffect.server.models.bundling.draft import Draft
from fedaffect.server.models.bundling.export import to_onnx
from fedaffect.server.models.bundling.hub import load, load_model, source_of
from fedaffect.server.models.bundling.packages import SILERO, WHISPER_TINY
from fedaffect.server.models.bundling.precision import quantise_dynamic
from fedaffect.server.models.bundling.whisper import WhisperLayers, encoder_from_ctranslate2
from fedaffect.server.models.reading import AS_IT_COMES, Reading

WAVEFORM_KINDS: Final = ("wav2vec2", "hubert", "wavlm")
KINDS: Final = (*WAVEFORM_KINDS, "whisper")
BOUND: Final = 0.97
VOICE_FILE: Final = "data/silero_vad_16k_sequence.onnx"
# Measured on unseen actors of RAVDESS; see ARCHITECTURE.md.
TINY_LAYERS: Final = (2, 3)
_PROBE_SECONDS: Final = (3.0, 1.2, 5.0)


class WaveformLayers(nn.Module):
    """Some hidden layers of a Wav2Vec2-like model, side by side; layers above them are dropped."""

    def __init__(self, model: Any, layers: tuple[int, ...]) -> None:
        super().__init__()
        if not all(0 <= layer <= len(model.encoder.layers) for layer in layers):
            raise BundleError(f"layers {layers} of a model that has {len(model.encoder.layers)}; choose from those")
        model.encoder.layers = model.encoder.layers[: max(layers)]
        self.model = model
        self.layers = layers

    def forward(self, waveform: Tensor) -> Tensor:
        """Hidden states, (B, N) to (B, T, len(layers) W), about 50 a second."""
        states = self.model(waveform, output_hidden_states=True).hidden_states
        return torch.cat([states[layer] for layer in self.layers], dim=-1)


def draft_speech(name: str | None, folder: Path, reading: Reading = AS_IT_COMES) -> Draft:
    """Export a speech encoder into a folder.

    Of a model of the user's own, the layer two thirds of the way up is taken unless the reading says another: emotion
    is carried by middle layers, the last ones have turned to words.

    Parameters
    ----------
    name : str, optional
        Local folder or hub id; Whisper tiny.en from its package if not given.
    folder : Path
        Where to write.
    reading : Reading
        What was learned behind it, if anything was, and so which features it must give.

    Raises
    ------
    BundleError
        If the model cannot be had or exported.
    """
    voice = SILERO.file(VOICE_FILE)
    if name is None:
        encoder = encoder_from_ctranslate2(WHISPER_TINY.file("model/model.bin"))
        return _whisper(encoder, TINY_LAYERS, reading, folder, voice, WHISPER_TINY.source())
    model = load_model(name, KINDS, "--speech")
    source = source_of(name, model.config)
    if model.config.model_type == "whisper":
        encoder = model.get_encoder()
        layers = reading.layers or (_two_thirds(len(encoder.layers)),)
        return _whisper(encoder, layers, reading, folder, voice, source)
    return _waveform(name, model, reading, folder, voice, source)


def _two_thirds(layers: int) -> int:
    return max(1, round(layers * 2 / 3))


def _whisper(
    encoder: Any, layers: tuple[int, ...], reading: Reading, folder: Path, voice: Path, source: Source
) -> Draft:
    bands = int(encoder.config.num_mel_bins)
    # Position encodings bound how long a clip can be: 1500 of them, 50 a second, are 30 s.
    seconds = min(30.0, encoder.config.max_source_positions / 50)
    settings = reading.of_sound(
        SpeechSettings(front_end="log_mel", mel_bands=bands, max_seconds=seconds, statistics="mean")
    )
    spectra = [log_mel(sound[: int(seconds * SAMPLE_RATE_HZ)], bands)[None] for sound in _probe_sounds()]
    network = folder / "audio.onnx"
    module = WhisperLayers(encoder, layers)
    to_onnx(module, "log_mel", torch.from_numpy(spectra[0]), {0: "clips", 2: "frames"}, network)
    width = len(layers) * int(encoder.config.d_model)
    return replace(_draft(settings, reading, network, width, voice, source, "log_mel", spectra), module=module)


def _waveform(name: str, model: Any, reading: Reading, folder: Path, voice: Path, source: Source) -> Draft:
    stride = int(np.prod(model.config.conv_stride))
    standardise = standardises(name)
    settings = reading.of_sound(
        SpeechSettings(front_end="waveform", frames_per_second=SAMPLE_RATE_HZ / stride, standardise=standardise)
    )
    sounds = [sound[None] for sound in _probe_sounds()]
    if standardise:
        sounds = [((sound - sound.mean()) / sound.std()).astype(np.float32) for sound in sounds]
    network = folder / "audio.onnx"
    module = WaveformLayers(model, reading.layers or (_two_thirds(len(model.encoder.layers)),))
    to_onnx(module, "waveform", torch.from_numpy(sounds[0]), {0: "clips", 1: "samples"}, network)
    width = len(module.layers) * int(model.config.hidden_size)
    return _draft(settings, reading, network, width, voice, source, "waveform", sounds)


def standardises(name: str) -> bool:
    """Whether the model was trained on waveforms of zero mean and unit variance; yes where it does not say."""
    try:
        return bool(getattr(load(name, AutoFeatureExtractor), "do_normalize", True))
    except BundleError:
        return True


def _draft(
    settings: SpeechSettings,
    reading: Reading,
    network: Path,
    width: int,
    voice: Path,
    source: Source,
    name: str,
    inputs: list[NDArray[np.float32]],
) -> Draft:
    return Draft(
        modality="audio",
        network=network,
        settings=settings,
        width=pooled_width(width, settings.statistics),
        tokens_per_second=settings.tokens_per_second,
        source=source,
        quantise=quantise_dynamic,
        probes=tuple({name: values} for values in inputs),
        probe=f"{min(_PROBE_SECONDS[0], settings.max_seconds):g} s of sound",
        bound=BOUND,
        assets={"voice": voice},
        scaled=not reading.pooling,
    )


def _probe_sounds() -> list[NDArray[np.float32]]:
    """Voice-like sounds: a gliding pulse train through moving resonances, with pauses and a little noise."""
    rng = np.random.default_rng(7)
    sounds = []
    for seconds in _PROBE_SECONDS:
        time_s = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
        pitch_hz = 140 + 50 * np.sin(2 * np.pi * 0.7 * time_s + rng.uniform(0, 6)) + 10 * np.sin(2 * np.pi * 5 * time_s)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / SAMPLE_RATE_HZ
        sound = np.zeros_like(time_s)
        for harmonic in range(1, 25):
            formants_hz = 500 + 300 * np.sin(2 * np.pi * 1.3 * time_s), 1500 + 500 * np.sin(2 * np.pi * 0.9 * time_s)
            gain = sum(np.exp(-(((harmonic * pitch_hz - formant) / 250) ** 2)) for formant in formants_hz)
            sound += gain * np.sin(harmonic * phase)
        syllables = np.clip(np.sin(2 * np.pi * 2.2 * time_s) + 0.4, 0, 1)
        sound = 0.1 * sound * syllables + rng.normal(0, 0.002, len(time_s))
        sounds.append(sound.astype(np.float32))
    return sounds
