"""What a device sends is what the cloud takes, and what the device itself used."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.edge.runtime.test_cascade import Counting

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cloud import connect
from fedaffect.edge.cloud.sizes import sendable
from fedaffect.edge.runtime import sample_of
from fedaffect.edge.runtime.intake import take_in
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.serving.app import background
from fedaffect.server.serving.decoding.checks import check_pictures, check_sound
from fedaffect.server.serving.gateway.limits import Limits


@pytest.fixture
def long_voice() -> Waveform:
    voice = spoken(7.0).samples
    return Waveform(np.tile(voice, 7), 16_000)


def sent_of(runtime: EdgeRuntime, sample: Sample) -> Sample:
    intake = take_in(sample, runtime._current().encoders)
    return sendable(intake.sample, intake.used)


@pytest.mark.slow
def test_a_sound_of_49_seconds_is_answered_by_the_cloud(
    make_bundle, made, long_voice: Waveform, tmp_path: Path
) -> None:
    made.write_sound(tmp_path / "long.wav", long_voice)
    unsure = Bundle.load(make_bundle(21, thresholds={"audio": 1.0}), trust=None)
    with (
        background(Counting()) as server,
        EdgeRuntime.load(unsure, cloud=connect(f"grpc://{server.grpc_target}"), privacy="raw") as runtime,
    ):
        answer = runtime.predict(Sample(audio=tmp_path / "long.wav"), deadline_ms=60_000)
    assert (answer.source, answer.modalities) == ("cloud", ("audio",)), answer
    assert answer.notes[0].startswith("judged in 2 windows of 30 s")


def test_of_a_long_sound_what_was_heard_is_sent(runtime: EdgeRuntime, made, long_voice: Waveform, tmp_path) -> None:
    late = Waveform(np.concatenate([np.zeros(32 * 16_000, np.float32), spoken(3.0).samples]), 16_000)
    for place, sound in enumerate((long_voice, late)):
        path = tmp_path / f"{place}.flac"
        made.write_sound(path, sound, "FLAC")
        sent = sent_of(runtime, Sample(audio=path)).audio
        assert isinstance(sent, Waveform)
        assert len(sent.samples) <= 30 * 16_000
        assert np.abs(sent.samples[:16_000]).max() > 0.01


@pytest.mark.slow
def test_of_a_long_film_the_pictures_that_were_seen_are_sent(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    made.write_film(path, [drawn_face()] * 80, rate_hz=2)
    sent = sent_of(runtime, sample_of(video=path)).video
    assert isinstance(sent, Frames)
    short = tmp_path / "short.mp4"
    made.write_film(short, [drawn_face()] * 10)
    assert sent_of(runtime, sample_of(video=short)).video == short


def test_a_picture_or_film_of_too_many_pixels_is_sent_as_it_was_seen(runtime: EdgeRuntime, made) -> None:
    large = np.repeat(np.repeat(made.face(), 12, axis=0), 12, axis=1)[:5_200, :5_200]
    data = made.picture_bytes(large, "JPEG")
    with pytest.raises(Exception, match="megapixels"):
        check_pictures(data, Limits().media())
    sent = sendable(Sample(video=data), {"video": Frames(made.face()[None])}).video
    assert isinstance(sent, Frames)
    small = made.picture_bytes(made.face(), "JPEG")
    assert sendable(Sample(video=small), {"video": Frames(made.face()[None])}).video == small


def test_words_beyond_what_the_cloud_takes_are_cut() -> None:
    assert len(sendable(Sample(text="so sad " * 9_000), {}).text or "") == Limits().text_characters
    assert sendable(Sample(text="sad"), {}).text == "sad"


def test_what_fits_goes_as_it_is(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    path = tmp_path / "voice.wav"
    made.write_sound(path, spoken(3.0))
    sample = Sample(text="i am sad", audio=path)
    assert sent_of(runtime, sample) == sample
    check_sound(path.read_bytes(), Limits().media())
