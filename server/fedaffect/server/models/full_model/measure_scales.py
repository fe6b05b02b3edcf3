"""Measure the spread of Whisper base's layers on synthetic voices; run with ``python -m``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from fedaffect.client.corpora.synthetic import Synthetic
from fedaffect.edge.encoders.scale import Scale
from fedaffect.server.models.bundling.packages import SILERO
from fedaffect.server.models.bundling.scale import VOICES
from fedaffect.server.models.bundling.speech import VOICE_FILE
from fedaffect.server.models.bundling.whisper import encoder_from_ctranslate2
from fedaffect.server.models.full_model.compute import Compute
from fedaffect.server.models.full_model.loading import SCALES, WHISPER_BASE, WHISPER_FILES, whisper_settings
from fedaffect.server.models.full_model.speech import CloudSpeech, PaddedWhisper


def measure(path: Path) -> None:
    """Write mean and deviation of every layer's tokens, (2, W) a layer, as ``layer_0`` and so on."""
    parts = [package.file(name) for package, name in zip(WHISPER_BASE, WHISPER_FILES, strict=True)]
    encoder = encoder_from_ctranslate2(*parts)
    width, layers = int(encoder.config.d_model), tuple(range(len(encoder.layers) + 1))
    network = PaddedWhisper(encoder, layers)
    speech = CloudSpeech(network, whisper_settings(80, 1500), SILERO.file(VOICE_FILE), Compute())
    corpus = Synthetic()
    sounds = [corpus[place].sample.audio for place in range(0, len(corpus), max(1, len(corpus) // VOICES))]
    prepared = [speech.prepare(sound) for sound in sounds]
    scale = Scale.of(np.concatenate([tokens for each in prepared for tokens in speech.encode([each])]))
    both = np.stack([scale.mean, scale.deviation]).astype(np.float32)
    save_file({f"layer_{i}": np.ascontiguousarray(both[:, i * width : (i + 1) * width]) for i in layers}, path)


if __name__ == "__main__":
    torch.set_num_threads(1)
    measure(SCALES)
