from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge import EdgeRuntime, Prediction
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.media.capture import Camera, Microphone
from fedaffect.edge.runtime import TimedPicture, TimedWords
from fedaffect.edge.runtime.probes import drawn_face, drawn_frames, spoken
from fedaffect.edge.runtime.smoothing import Smoother
from fedaffect.edge.sample import Frames, Waveform


@pytest.mark.parametrize(("seconds", "windows"), [(1.2, 1), (3.0, 1), (4.5, 4), (5.0, 5)])
def test_a_prediction_a_hop_once_a_window_is_full(runtime: EdgeRuntime, seconds: float, windows: int) -> None:
    answers = list(runtime.stream(drawn_frames(seconds), spoken(seconds), "i am happy"))
    assert len(answers) == windows
    assert {answer.modalities for answer in answers} == {("text", "audio", "video")}
    assert all(answer.latency_ms > 0 and answer.source == "edge" for answer in answers)
    assert len({answer.session for answer in answers}) == 1
    assert [answer.window_s for answer in answers] == [(0.5 * place, 3.0 + 0.5 * place) for place in range(windows)]


def test_arrays_files_and_pieces_give_one_answer(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    sound = spoken(4.0)
    made.write_sound(tmp_path / "voice.wav", sound)
    pieces = (Waveform(part, 16_000) for part in np.array_split(sound.samples, 37))
    ways = [list(runtime.stream(audio=audio)) for audio in (sound, tmp_path / "voice.wav", pieces)]
    assert [len(way) for way in ways] == [3, 3, 3]
    for way in ways[1:]:
        for one, other in zip(ways[0], way, strict=True):
            assert list(other.probabilities.values()) == pytest.approx(list(one.probabilities.values()), abs=0.02)


def test_a_film_streams_from_its_file(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    made.write_film(tmp_path / "film.mp4", [made.face()] * 40, spoken(4.0))
    answers = list(runtime.stream(tmp_path / "film.mp4", tmp_path / "film.mp4"))
    assert len(answers) in (3, 4)
    assert answers[0].modalities == ("audio", "video")


def test_other_rates_are_resampled_on_the_way(runtime: EdgeRuntime) -> None:
    import soxr

    fast = soxr.resample(spoken(4.0).samples, 16_000, 44_100).astype(np.float32)
    slow, other = (list(runtime.stream(audio=audio)) for audio in (spoken(4.0), Waveform(fast, 44_100)))
    for one, two in zip(slow, other, strict=True):
        assert list(two.probabilities.values()) == pytest.approx(list(one.probabilities.values()), abs=0.05)


def test_words_hold_for_the_window_in_which_they_were_said(runtime: EdgeRuntime) -> None:
    said = [TimedWords("i am sad", 0.5), TimedWords("so happy", 4.2)]
    answers = list(runtime.stream(audio=spoken(6.0), text=said))
    assert [("text" in answer.modalities) for answer in answers] == [True, True, False, True, True, True, True]


def test_a_camera_faster_than_the_encoder_is_thinned(runtime: EdgeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = runtime._current().encoders["video"]
    encode, encoded = encoder.encode, []
    monkeypatch.setattr(encoder, "encode", lambda batch: encoded.append(1) or encode(batch))
    list(runtime.stream(TimedPicture(drawn_face(), place / 30) for place in range(90)))
    assert len(encoded) == 15


def test_faces_are_looked_for_only_when_they_move(runtime: EdgeRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = runtime._current().encoders["video"].detector
    looked, upright = [], detector.upright
    monkeypatch.setattr(detector, "upright", lambda *asked: looked.append(1) or upright(*asked))
    list(runtime.stream(Frames(np.repeat(drawn_face()[None], 25, axis=0), 5.0)))
    assert len(looked) == 5  # once a second
    looked.clear()
    jumping = np.stack([drawn_face(at=(120, 60 + 380 * (place % 2))) for place in range(25)])
    list(runtime.stream(Frames(jumping, 5.0)))
    assert len(looked) > 10


def test_silence_and_faceless_windows_have_no_answer_but_the_rest_has(runtime: EdgeRuntime) -> None:
    sound = np.concatenate([np.zeros(16_000 * 4, np.float32), spoken(3.0).samples])
    answers = list(runtime.stream(audio=Waveform(sound, 16_000)))
    assert 4 <= len(answers) <= 7  # of nine windows; the first ones are silent throughout
    with pytest.raises(DataError, match=r"nothing to go by.*silent"):
        list(runtime.stream(audio=Waveform(np.zeros(64_000, np.float32), 16_000)))
    with pytest.raises(DataError, match=r"nothing to go by.*no face"):
        list(runtime.stream(Frames(np.full((20, 240, 426, 3), 90, np.uint8), 5.0)))


def test_one_source_may_end_before_the_other(runtime: EdgeRuntime) -> None:
    answers = list(runtime.stream(drawn_frames(1.0), spoken(5.0)))
    assert len(answers) == 5
    assert answers[0].modalities == ("audio", "video")
    assert answers[-1].modalities == ("audio",)


def test_nothing_to_stream(runtime: EdgeRuntime) -> None:
    with pytest.raises(DataError, match="give frames, audio or text"):
        runtime.stream()
    with pytest.raises(DataError, match="nothing to go by"):
        list(runtime.stream(audio=iter(())))
    with pytest.raises(ConfigError, match="hop"):
        runtime.stream(audio=spoken(1.0), hop_s=4.0)


@pytest.mark.parametrize(
    ("pieces", "says"),
    [
        ([Waveform(np.full(9_000, np.nan, np.float32), 16_000)], "numbers"),
        ([Waveform(np.zeros(900, np.float32), 16_000), Waveform(np.zeros(900, np.float32), 8_000)], "rate changed"),
    ],
)
def test_a_microphone_that_misbehaves(runtime: EdgeRuntime, pieces: list[Waveform], says: str) -> None:
    with pytest.raises(DataError, match=says):
        list(runtime.stream(audio=pieces))


def test_asyncio(runtime: EdgeRuntime) -> None:
    async def scene() -> list[Prediction]:
        return [answer async for answer in runtime.astream(drawn_frames(4.0), spoken(4.0))]

    assert len(asyncio.run(scene())) == 3


@pytest.mark.slow
def test_swapping_in_the_middle(make_bundle, answering_bundle: Bundle) -> None:
    other = Bundle.load(make_bundle(9), trust=None)
    with EdgeRuntime.load(answering_bundle) as runtime:
        answers = []
        for answer in runtime.stream(drawn_frames(5.0), spoken(5.0), "i am sad"):
            answers.append(answer.model_version)
            if len(answers) == 2:
                runtime.swap(other)
    assert answers == [answering_bundle.version] * 2 + [other.version] * 3


def test_smoothing_comes_through_in_its_time_constant() -> None:
    smoother = Smoother(1.0)
    calm, angry = np.array([1.0, 0.0]), np.array([0.0, 1.0])
    labels = ("calm", "anger")
    assert smoother(labels, calm, 0.0).tolist() == [1.0, 0.0]
    half = smoother(labels, angry, 0.5)
    assert half[1] == pytest.approx(1 - np.exp(-0.5))
    assert smoother(labels, angry, 1.0)[1] == pytest.approx(1 - np.exp(-1.0))
    assert smoother(("joy", "fear"), calm, 1.5).tolist() == [1.0, 0.0]
    assert Smoother(0.0)(labels, angry, 0.0).tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError):
        Smoother(-1.0)


def test_smoothing_steadies_a_stream(runtime: EdgeRuntime) -> None:
    said = [TimedWords("so happy", 0.1), TimedWords("sad", 3.6), TimedWords("you", 5.5)]
    raw, steady = (
        np.array([list(a.probabilities.values()) for a in runtime.stream(audio=spoken(7.0), text=said, smoothing_s=s)])
        for s in (0.0, 1.0)
    )
    assert raw[0] == pytest.approx(steady[0])
    assert np.abs(np.diff(steady, axis=0)).sum() < np.abs(np.diff(raw, axis=0)).sum()
    assert steady.sum(axis=1) == pytest.approx(np.ones(len(steady)))


@pytest.mark.slow
def test_devices_through_ffmpeg(runtime: EdgeRuntime) -> None:
    """FFmpeg's own test sources stand for devices: same thread, same queue, same decoding."""
    camera = Camera("lavfi:testsrc2=size=64x64:rate=10,realtime")
    microphone = Microphone("lavfi:sine=frequency=300,arealtime")
    try:
        answers = runtime.stream(camera, microphone, window_s=1.0, hop_s=0.25)
        first, second = next(answers), next(answers)
    finally:
        camera.close()
        microphone.close()
    # A square picture of 64 pixels counts as a crop; a tone has no voice.
    assert first.modalities == second.modalities == ("video",)


@pytest.mark.parametrize(
    ("device", "says"),
    [
        ("v4l2:/dev/video99", "no camera at v4l2:/dev/video99.*without it"),
        ("nonsense", "FORMAT:DEVICE"),
        ("x:y", "no camera"),
    ],
)
def test_a_camera_that_is_not_there(device: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        Camera(device)


def test_a_microphone_that_is_not_there() -> None:
    with pytest.raises(DataError, match=r"no microphone at alsa:none99.*plug one in"):
        Microphone("alsa:none99")


def test_a_device_that_ends_or_fails() -> None:
    camera = Camera("lavfi:testsrc2=size=64x64:rate=10:duration=0.3")
    assert len(list(camera)) >= 1
