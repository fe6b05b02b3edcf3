from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from transformers import WhisperFeatureExtractor

from fedaffect.edge.media.log_mel import log_mel, mel_filters


@pytest.mark.parametrize("bands", [80, 128])
@pytest.mark.parametrize("length", [16_000, 23_457, 3_210])
def test_equals_the_spectrogram_that_whisper_was_trained_on(bands: int, length: int) -> None:
    rng = np.random.default_rng(length)
    sound = (rng.normal(0, 0.1, length) * np.linspace(0, 1, length)).astype(np.float32)
    reference = WhisperFeatureExtractor(feature_size=bands)(
        sound, sampling_rate=16_000, padding=False, return_tensors="np"
    ).input_features[0]
    ours = log_mel(sound, bands)
    assert ours.shape == reference.shape == (bands, length // 160)
    np.testing.assert_allclose(ours, reference, atol=1e-4)


def test_filters_equal_the_reference() -> None:
    np.testing.assert_allclose(mel_filters(80), WhisperFeatureExtractor().mel_filters, atol=1e-9)


@pytest.mark.parametrize("length", [1, 100, 399])
def test_a_sound_shorter_than_a_window_is_padded(length: int) -> None:
    assert log_mel(np.ones(length, np.float32)).shape == (80, 2)
    assert np.isfinite(log_mel(np.zeros(length, np.float32))).all()


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one core has no helpers to keep busy")
def test_no_other_core_is_kept_busy() -> None:
    """OpenBLAS's threads wait busily after a product that they shared, a tenth of a second each time."""
    idle = (
        "import time, numpy as np\n"
        "from fedaffect.edge.media.log_mel import log_mel\n"
        "for _ in range(4):\n"
        "    log_mel(np.ones(48_000, np.float32))\n"
        "    spent_s = time.process_time()\n"
        "    time.sleep(0.1)\n"
        "    print(time.process_time() - spent_s)\n"
    )
    ours = {name: value for name, value in os.environ.items() if not name.endswith("NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", idle], env=ours, capture_output=True, text=True, check=True)
    assert max(map(float, done.stdout.split())) < 0.05
