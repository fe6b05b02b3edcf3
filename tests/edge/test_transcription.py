from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ctranslate2", reason="words from speech need the extra 'transcribe'")

from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.media.sound import decode_audio
from fedaffect.edge.sample import Waveform
from fedaffect.edge.transcription import Whisper


@pytest.fixture(scope="module")
def whisper() -> Whisper:
    try:
        return Whisper()
    except ConfigError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    ("clip", "word"),
    [("Actor_01/03-01-01-01-01-01-01.flac", "kids"), ("Actor_02/03-01-01-01-02-01-02.flac", "dogs")],
)
def test_writes_down_what_an_actor_says(
    whisper: Whisper, shared_data: Callable[[str], Path], clip: str, word: str
) -> None:
    path = shared_data("ravdess") / clip
    if not path.is_file():
        pytest.skip(f"this machine's RAVDESS lacks {clip}")
    words = whisper(decode_audio(path)).lower()
    assert word in words
    assert "by the door" in words


def test_nobody_says_nothing(whisper: Whisper) -> None:
    assert whisper(Waveform(np.zeros(16_000, np.float32), 16_000)) == ""


def test_sound_must_be_sound(whisper: Whisper) -> None:
    for samples in (np.zeros(0, np.float32), np.full(100, np.nan, np.float32), np.zeros((10, 2), np.float32)):
        with pytest.raises(DataError, match="record it again"):
            whisper(Waveform(samples, 16_000))


def test_a_folder_of_something_else(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.bin.*missing"):
        Whisper(tmp_path)
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(ConfigError, match="does not open"):
        Whisper(tmp_path)
