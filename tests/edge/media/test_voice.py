from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from fedaffect.edge.media.sound import decode_audio, duration_s
from fedaffect.edge.media.voice import VoiceDetector
from fedaffect.edge.sample import Waveform
from fedaffect.server.models.bundling.packages import SILERO
from fedaffect.server.models.bundling.speech import VOICE_FILE, _probe_sounds


@pytest.fixture(scope="module")
def detector() -> VoiceDetector:
    return VoiceDetector(SILERO.file(VOICE_FILE))


def test_equals_the_streaming_network_frame_by_frame(detector: VoiceDetector) -> None:
    sound = np.tile(_probe_sounds()[0], 6)[: 16_000 * 17 + 77]  # longer than one block of 512 frames
    session = onnxruntime.InferenceSession(SILERO.file("data/silero_vad_16k_op15.onnx"))
    padded = np.pad(sound, (0, -len(sound) % 512))
    state, context, expected = np.zeros((2, 1, 128), np.float32), np.zeros(64, np.float32), []
    for start in range(0, len(padded), 512):
        frame = padded[start : start + 512]
        feed = {"input": np.concatenate([context, frame])[None], "state": state, "sr": np.array(16_000)}
        probability, state = session.run(None, feed)
        context = frame[-64:]
        expected.append(probability.item())
    np.testing.assert_allclose(detector.probabilities(sound), expected, atol=1e-3)


def test_without_a_voice_everything_stays(detector: VoiceDetector) -> None:
    hum = Waveform((0.01 * np.random.default_rng(0).normal(size=20_000)).astype(np.float32), 16_000)
    assert detector.trim(hum, 0.5, 0.1) is hum


def test_silence_around_real_speech_goes(detector: VoiceDetector, shared_data: Callable[[str], Path]) -> None:
    speech = decode_audio(shared_data("ravdess") / "Actor_01" / "03-01-05-02-01-01-01.flac")
    silence = np.zeros(32_000, np.float32)
    padded = Waveform(np.concatenate([silence, speech.samples, silence]), 16_000)
    alone, trimmed = detector.trim(speech, 0.5, 0.1), detector.trim(padded, 0.5, 0.1)
    assert 0.8 < duration_s(alone) < duration_s(speech) - 0.5  # the corpus leaves about a second at either end
    assert duration_s(trimmed) == pytest.approx(duration_s(alone), abs=0.3)
