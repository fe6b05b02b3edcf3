"""Voice: middle layers of a Whisper encoder, or of Wav2Vec2, HuBERT and WavLM, pooled into tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fedaffect.edge import tokens
from fedaffect.edge.bundle.manifest import hash_of
from fedaffect.edge.encoders.base import Prepared
from fedaffect.edge.encoders.scale import Scale
from fedaffect.edge.encoders.speech import SpeechEncoder, SpeechSettings, prepare_speech
from fedaffect.edge.errors import BundleError
from fedaffect.edge.media.voice import VoiceDetector
from fedaffect.edge.runtime.intake import Taken, take_speech
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.encoder import Batch, PaddedEncoder, identity, to_arrays
from fedaffect.server.models.full_model.int8 import Example
from fedaffect.server.models.full_model.precision import ready
from fedaffect.server.models.transformers_compat import set_attention


class CloudSpeech(PaddedEncoder):
    """Runs a speech network that says how many frames it makes of a length; see `PaddedWhisper`, `PaddedWaveform`.

    Parameters
    ----------
    network : PaddedWhisper or PaddedWaveform
        In FP32.
    settings : SpeechSettings
        Preprocessing and pooling; windows become their means.
    voice : Path
        Silero VAD.
    compute : Compute
    scale : Scale, optional
        Standardises the tokens.
    """

    modality = "audio"

    def __init__(
        self, network: nn.Module, settings: SpeechSettings, voice: Path, compute: Compute, scale: Scale | None = None
    ) -> None:
        if settings.statistics != "mean":
            raise BundleError("the cloud's voice tokens are window means; use statistics of 'mean'")
        width = int(network.width)  # type: ignore[arg-type]
        if scale is not None and len(scale.mean) != width:
            raise BundleError(f"a scale of {len(scale.mean)} for {width} voice features; measure it again")
        parameters = {"kind": "cloud-speech", "layers": list(network.wanted), **asdict(settings)}  # type: ignore[arg-type]
        files = {"voice": hash_of(voice)}
        if scale is not None:
            files["scale"] = sha256(np.stack([scale.mean, scale.deviation]).astype("<f4").tobytes()).hexdigest()
        key = identity(network.eval(), parameters, files)
        self._frames: Callable[[int], int] = network.frame_counter()  # type: ignore[operator]
        example = _example(settings)
        rate = settings.tokens_per_second
        # Buckets of half a second, batches of four minutes.
        step, most = (50, 24_000) if settings.front_end == "log_mel" else (8_000, 3_840_000)
        network = ready(network, compute, key, example)
        super().__init__(network, compute, width=width, tokens_per_second=rate, key=key, step=step, most=most)
        self.settings = settings
        self.scale = scale
        self.voice = VoiceDetector(voice)
        self._standardise = None
        if scale is not None:
            self._standardise = tuple(torch.from_numpy(x).to(compute.device) for x in (scale.mean, scale.deviation))

    def prepare(self, source: Any) -> Prepared:
        """Decoded, mono, 16 kHz, trimmed to speech, levelled; then log-mel (bands, T) or samples (N,)."""
        return prepare_speech(source, self.settings, self.voice)

    def take(self, source: Any) -> Taken:
        """As the edge takes sound."""
        return take_speech(cast(SpeechEncoder, self), source)

    def _run(self, batch: Batch) -> list[NDArray[np.float32]]:
        features = self.network(batch.values, batch.mask).float()  # (B, T', W)
        pooled = []
        for row, length in enumerate(batch.lengths):
            frames = self._frames(length)
            windows = torch.from_numpy(
                window_means(frames, self.settings.frames_per_second, self.settings.tokens_per_second)
            )
            mean = windows.to(features.device) @ features[row, :frames]  # (N, T') (T', W) -> (N, W)
            if self._standardise is not None:
                mean = (mean - self._standardise[0]) / self._standardise[1]
            pooled.append(mean)
        return to_arrays(pooled)


def _example(settings: SpeechSettings) -> Example:
    if settings.front_end == "log_mel":
        return Example("log_mel", torch.zeros(1, settings.mel_bands, 128), {2: "frames"})
    return Example("waveform", torch.zeros(1, 16_000), {1: "samples"})


@lru_cache(maxsize=256)
def window_means(frames: int, rate_hz: float, token_rate_hz: float) -> NDArray[np.float32]:
    """Window means as one matrix (N, T'), from the very function that the edge pools with."""
    return tokens.resample(np.eye(frames, dtype=np.float32), rate_hz, token_rate_hz)


class PaddedWhisper(nn.Module):
    """Hidden states of a Whisper encoder's layers, for clips of different lengths at once.

    As `WhisperLayers` of bundling, for which a clip keeps its length; here silence behind it is masked.

    Parameters
    ----------
    encoder : WhisperEncoder
        Layers after the last one wanted are dropped.
    layers : tuple of int
        Counted from 1; 0 is what enters the first layer.
    """

    def __init__(self, encoder: Any, layers: tuple[int, ...]) -> None:
        super().__init__()
        if not layers or not all(0 <= layer <= len(encoder.layers) for layer in layers):
            raise BundleError(f"layers {layers} of an encoder that has {len(encoder.layers)}; choose from those")
        set_attention(encoder.config, "sdpa")
        self.conv1, self.conv2 = encoder.conv1, encoder.conv2
        self.positions = encoder.embed_positions
        self.layers = encoder.layers[: max(layers)]
        self.wanted = layers
        self.width = len(layers) * int(encoder.config.d_model)

    def frame_counter(self) -> Callable[[int], int]:
        """How many vectors are made of a spectrogram of so many frames."""
        return lambda length: (length + 1) // 2

    def forward(self, log_mel: Tensor, mask: Tensor | None) -> Tensor:
        """(B, bands, T) to (B, ceil(T / 2), len(layers) * W)."""
        x = nn.functional.gelu(self.conv1(log_mel.to(self.conv1.weight.dtype)))
        attention = None
        if mask is not None:
            # Behind a clip alone there are zeros, and the second convolution looks one frame ahead.
            x = x * mask[:, None, :]
            attention = mask[:, None, None, ::2]  # (B, 1, 1, T / 2)
        x = nn.functional.gelu(self.conv2(x)).transpose(1, 2)  # (B, T / 2, W)
        x = x + self.positions.weight[: x.shape[1]]
        states = [x]
        for layer in self.layers:
            x = layer(x, attention)
            states.append(x)
        return torch.cat([states[layer] for layer in self.wanted], dim=2)


class PaddedWaveform(nn.Module):
    """Hidden states of Wav2Vec2, HuBERT or WavLM, for clips of different lengths at once.

    Parameters
    ----------
    model : PreTrainedModel
        One of those.
    layers : tuple of int
        Counted from 1; 0 is what enters the first layer.
    """

    def __init__(self, model: Any, layers: tuple[int, ...]) -> None:
        super().__init__()
        depth = int(model.config.num_hidden_layers)
        if not layers or not all(0 <= layer <= depth for layer in layers):
            raise BundleError(f"layers {layers} of a speech model that has {depth}; choose from 0 to {depth}")
        self.convolutions = model.feature_extractor.conv_layers
        # The convolutions run here, since the first one's norm must not see padding.
        model.feature_extractor = nn.Identity()
        self.model = model
        self.wanted = layers
        self.width = len(layers) * int(model.config.hidden_size)

    def frame_counter(self) -> Callable[[int], int]:
        """How many vectors are made of so many samples."""
        steps = [(layer.conv.kernel_size[0], layer.conv.stride[0]) for layer in self.convolutions]

        def count(length: int) -> int:
            for kernel, stride in steps:
                length = (length - kernel) // stride + 1
            return length

        return count

    def forward(self, waveform: Tensor, mask: Tensor | None) -> Tensor:
        """(B, N) to (B, T, len(layers) * W)."""
        first = self.convolutions[0]
        x = waveform[:, None].to(first.conv.weight.dtype)  # (B, 1, N)
        if mask is not None and isinstance(getattr(first, "layer_norm", None), nn.GroupNorm):
            x = self._first(first, x, mask)
        else:
            x = first(x)
        for convolution in self.convolutions[1:]:
            x = convolution(x)
        # The model takes the convolutions' output (B, C, T) through its identity, and the mask over samples.
        states = self.model(x, attention_mask=mask, output_hidden_states=True).hidden_states
        return torch.cat([states[layer] for layer in self.wanted], dim=-1)

    def _first(self, layer: Any, x: Tensor, mask: Tensor) -> Tensor:
        """Convolution, norm and activation of the first layer; the norm over each clip's own frames only."""
        x = layer.conv(x)  # (B, C, T)
        kernel, stride = layer.conv.kernel_size[0], layer.conv.stride[0]
        counts = ((mask.sum(dim=1) - kernel) // stride + 1).clamp(min=1)  # (B,)
        real = (torch.arange(x.shape[2], device=x.device) < counts[:, None])[:, None]  # (B, 1, T)
        count = counts[:, None, None].to(torch.float32)
        wide = x.float()
        mean = (wide * real).sum(dim=2, keepdim=True) / count  # (B, C, 1)
        variance = ((wide - mean).square() * real).sum(dim=2, keepdim=True) / count
        normed = (wide - mean) * torch.rsqrt(variance + layer.layer_norm.eps)
        scaled = normed * layer.layer_norm.weight[:, None] + layer.layer_norm.bias[:, None]
        activated: Tensor = layer.activation(scaled.to(x.dtype))
        return activated
