"""The synthetic corpus: reproducible, lazy, balanced as said, and honest about what each modality shows."""

from __future__ import annotations

import pickle
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fedaffect.client.corpora.synthetic import Synthetic, SyntheticFace, SyntheticVoice
from fedaffect.edge.errors import ConfigError
from fedaffect.edge.sample import Frames, Waveform


@pytest.fixture(scope="module")
def corpus() -> Synthetic:
    return Synthetic()


def test_sizes_and_speakers_are_as_described(corpus: Synthetic) -> None:
    utterances = list(corpus)
    assert Counter(u.split for u in utterances) == {"train": 720, "dev": 120, "test": 240}
    speakers = {split: {u.speaker for u in utterances if u.split == split} for split in ("train", "dev", "test")}
    assert (len(speakers["train"]), len(speakers["dev"]), len(speakers["test"])) == (20, 22, 22)
    assert len(speakers["dev"] - speakers["train"]) == len(speakers["test"] - speakers["train"]) == 2
    assert not (speakers["dev"] - speakers["train"]) & (speakers["test"] - speakers["train"])
    assert all(u.attributes["synthetic"] == "yes" and u.sample.id.startswith("synthetic") for u in utterances)
    assert "synthetic" in corpus.info.title


def test_speakers_are_not_identically_distributed(corpus: Synthetic) -> None:
    train = [u for u in corpus if u.split == "train"]
    overall = Counter(u.label for u in train)
    assert min(overall.values()) > 0.1 * len(train)
    shares = []
    for speaker in {u.speaker for u in train}:
        mine = Counter(u.label for u in train if u.speaker == speaker)
        shares.append(max(mine.values()) / sum(mine.values()))
    assert np.mean(shares) > 0.4
    assert len(set(Counter(u.speaker for u in train).values())) > 5


def test_same_seed_same_utterances_in_any_order(corpus: Synthetic) -> None:
    again = Synthetic(seed=0)
    for index in (700, 3, 1079):
        one, other = corpus[index], again[index]
        assert (one.sample.id, one.sample.text, one.label, one.split, one.speaker) == (
            other.sample.id,
            other.sample.text,
            other.label,
            other.split,
            other.speaker,
        )
        assert isinstance(one.sample.audio, Waveform)
        assert isinstance(other.sample.audio, Waveform)
        np.testing.assert_array_equal(one.sample.audio.samples, other.sample.audio.samples)
        assert isinstance(one.sample.video, Frames)
        assert isinstance(other.sample.video, Frames)
        np.testing.assert_array_equal(one.sample.video.images, other.sample.video.images)
    assert corpus.fingerprint() == again.fingerprint() != Synthetic(seed=1).fingerprint()
    assert Synthetic(seed=1)[0].sample.text != corpus[0].sample.text or Synthetic(seed=1)[0].label != corpus[0].label


def test_media_are_made_when_looked_at_and_survive_a_process_boundary(corpus: Synthetic) -> None:
    sample = corpus[17].sample
    assert isinstance(sample.audio, SyntheticVoice)
    assert isinstance(sample.video, SyntheticFace)
    sent = pickle.dumps((sample.audio, sample.video))
    assert len(sent) < 5_000
    audio, video = pickle.loads(sent)
    np.testing.assert_array_equal(audio.samples, sample.audio.samples)
    np.testing.assert_array_equal(video.images, sample.video.images)


@pytest.mark.parametrize("index", [0, 400, 900])
def test_media_have_the_form_that_preprocessing_expects(corpus: Synthetic, index: int) -> None:
    sample = corpus[index].sample
    assert sample.modalities == ("text", "audio", "video")
    assert isinstance(sample.audio, Waveform)
    sound = sample.audio.samples
    assert sound.dtype == np.float32
    assert sample.audio.sample_rate_hz == 16_000
    assert 0.9 <= len(sound) / 16_000 <= 1.7
    assert 0.05 < np.abs(sound).max() <= 1
    assert isinstance(sample.video, Frames)
    assert sample.video.images.shape == (5, 96, 96, 3)
    assert sample.video.images.dtype == np.uint8
    assert sample.video.images.flags.writeable
    assert sample.video.frames_per_second == 5.0
    assert sample.video.images.std() > 10


def _pitch_hz(sound: np.ndarray) -> float:
    """Median pitch from the highest peak of each frame's autocorrelation within 60 to 500 Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(sound, 1024)[::800]
    spectrum = np.fft.rfft(frames * np.hanning(1024), 2048, axis=1)
    correlation = np.fft.irfft(np.abs(spectrum) ** 2, axis=1)[:, 32:267]
    return float(np.median(16_000 / (32 + correlation.argmax(axis=1))))


def test_voice_tells_arousal_on_top_of_the_speaker(corpus: Synthetic) -> None:
    by_speaker: dict[str, dict[bool, list[float]]] = {}
    for index in range(0, 720, 5):
        utterance = corpus[index]
        assert isinstance(utterance.sample.audio, Waveform)
        aroused = utterance.label in ("anger", "joy")
        pitch = _pitch_hz(utterance.sample.audio.samples)
        by_speaker.setdefault(utterance.speaker, {}).setdefault(aroused, []).append(np.log2(pitch))
    rises = [np.mean(each[True]) - np.mean(each[False]) for each in by_speaker.values() if len(each) == 2]
    assert len(rises) >= 10
    assert np.mean(rises) > 0.15


def test_sentences_tell_half_the_time(corpus: Synthetic) -> None:
    sad = [u.sample.text or "" for u in corpus if u.label == "sadness"]
    telling = np.mean([any(w in s for w in ("cry", "cried", "alone", "heart", "lost", "Nothing matters")) for s in sad])
    assert 0.35 < telling < 0.8


def test_refuses_a_folder_and_a_negative_seed() -> None:
    with pytest.raises(ConfigError, match="reads no folder; leave out --data-dir"):
        Synthetic(Path("somewhere"))
    with pytest.raises(ConfigError, match="choose 0 or more"):
        Synthetic(seed=-1)
