from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge.bundle import Bundle
from fedaffect.edge.encoders.speech import SpeechSettings
from fedaffect.edge.errors import BundleError, DataError
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.edge.system.onnx_session import open_session


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return Bundle.load(tiny_bundle)


def sounds() -> list[Waveform]:
    rng = np.random.default_rng(3)
    return [Waveform(rng.normal(0, 0.1, n).astype(np.float32), 16_000) for n in (48_000, 800, 20_000, 33_333)]


def test_one_vector_a_word_up_to_the_limit(bundle: Bundle) -> None:
    encoder = bundle.encoder("text")
    short, long = encoder.encode([encoder.prepare("i am sad"), encoder.prepare("so " * 50)])
    assert short.shape == (3, encoder.width)
    assert long.shape == (5, encoder.width)
    assert encoder.tokens_per_second == 0


def test_sound_becomes_tokens_at_the_rate(bundle: Bundle) -> None:
    encoder = bundle.encoder("audio")
    tokens = encoder.encode([encoder.prepare(sound) for sound in sounds()])
    assert [len(t) for t in tokens] == [8, 1, 3, 5]  # of 3, 0.05, 1.25 and 2.08 s at 2.5 a second
    assert all(t.shape[1] == encoder.width and t.dtype == np.float32 for t in tokens)


def test_pictures_become_a_vector_each(bundle: Bundle) -> None:
    encoder = bundle.encoder("video", faces="whole")
    images = np.zeros((11, 30, 40, 3), np.uint8)
    images[..., 0] = np.arange(11)[:, None, None] * 20
    (features,) = encoder.encode([encoder.prepare(Frames(images, 5.0))])
    np.testing.assert_allclose(features[:, 0], np.arange(11) * 20 / 255, atol=1e-5)
    assert not features[:, 1:].any()


def test_without_a_face_the_centre_is_seen(bundle: Bundle) -> None:
    images = np.zeros((1, 40, 80, 3), np.uint8)
    images[:, :, 20:60] = 255
    whole, detect = bundle.encoder("video", faces="whole"), bundle.encoder("video")
    np.testing.assert_allclose(detect.encode([detect.prepare(Frames(images))])[0], 1.0, atol=1e-5)
    np.testing.assert_allclose(whole.encode([whole.prepare(Frames(images))])[0], 0.5, atol=0.02)


def test_neighbours_and_threads_change_nothing(bundle: Bundle) -> None:
    for modality, sources in (("audio", sounds()), ("text", ["i am so happy", "you", "sad today"])):
        one, four = bundle.encoder(modality), bundle.encoder(modality, threads=4)
        alone = [one.encode([one.prepare(source)])[0] for source in sources]
        together = four.encode([four.prepare(source) for source in sources])
        for a, b in zip(alone, together, strict=True):
            np.testing.assert_array_equal(a, b)


def test_gain_does_not_reach_the_features(bundle: Bundle) -> None:
    encoder = bundle.encoder("audio")
    quiet = Waveform(sounds()[0].samples / 16, 16_000)
    loud, soft = encoder.encode([encoder.prepare(sounds()[0]), encoder.prepare(quiet)])
    np.testing.assert_allclose(loud, soft, atol=1e-3)


def test_nothing_in_nothing_out(bundle: Bundle) -> None:
    assert bundle.encoder("text").encode([]) == []


def test_text_must_be_words(bundle: Bundle) -> None:
    with pytest.raises(DataError, match="str"):
        bundle.encoder("text").prepare(b"bytes")
    with pytest.raises(DataError, match="tokenizer"):
        bundle.encoder("text").prepare("   ")


def test_a_damaged_graph_says_so(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match=r"bad\.onnx.*build"):
        open_session(tmp_path / "bad.onnx")
    with pytest.raises(BundleError, match="does not exist"):
        open_session(tmp_path / "none.onnx")


def test_settings_are_checked() -> None:
    with pytest.raises(BundleError, match="log_mel"):
        SpeechSettings("mfcc")
    with pytest.raises(BundleError, match="min"):
        SpeechSettings("log_mel", min_seconds=9, max_seconds=3)
