"""Long sounds and films are judged to their end, window by window, or notes say where judging stopped."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tests.edge.runtime.test_cascade import Counting

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.bundle import Bundle
from fedaffect.edge.cloud import connect
from fedaffect.edge.errors import DataError
from fedaffect.edge.offload.pooling import averaged, weighed
from fedaffect.edge.runtime import sample_of
from fedaffect.edge.runtime.judging import judge
from fedaffect.edge.runtime.probes import drawn_face, spoken
from fedaffect.edge.runtime.spans import Spans
from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.serving.app import background

RATE = 16_000
HOW = "judged in 3 windows of 30 s by how long somebody speaks or shows a face in each"


def sound_of(*parts: tuple[float, float]) -> Waveform:
    """Parts of so many seconds each: a voice at a level, or silence."""
    pieces = [
        level * np.resize(spoken(5.0).samples, round(seconds * RATE)) if level else np.zeros(round(seconds * RATE))
        for seconds, level in parts
    ]
    return Waveform(np.concatenate(pieces).astype(np.float32), RATE)


def probabilities(runtime: EdgeRuntime, sample: Sample) -> np.ndarray:
    return np.array(list(runtime.predict(sample).probabilities.values()))


@pytest.fixture(scope="module")
def changing() -> Frames:
    """A film of 75 s whose colour, and so the tiny network's answer, changes after each window."""
    face = drawn_face(48, (48, 48), (0, 0)) // 2
    tints = np.repeat(np.diag([120, 120, 120]).astype(np.uint8), (6, 6, 3), axis=0)
    return Frames(face[None] + tints[:, None, None, :], 0.2)


def test_the_end_of_a_film_counts_as_its_beginning_does(runtime: EdgeRuntime, changing: Frames) -> None:
    answer = runtime.predict(Sample(video=changing))
    assert answer.notes == (HOW,)
    parts = [
        probabilities(runtime, Sample(video=Frames(changing.images[start : start + 6], 0.2))) for start in (0, 6, 12)
    ]
    np.testing.assert_allclose(list(answer.probabilities.values()), weighed(parts, [30.0, 30.0, 15.0]), atol=1e-6)
    assert np.ptp(np.stack(parts), axis=0).max() > 0.01


def test_a_stored_film_with_its_sound_is_cut_alike(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    made.write_film(path, [drawn_face()] * 150, sound_of((75.0, 1.0)), rate_hz=2)
    answer = runtime.predict(sample_of(video=path, text="i am so sad"))
    assert answer.modalities == ("text", "audio", "video")
    assert answer.notes == (HOW,)


def test_a_window_in_which_nobody_speaks_does_not_count(runtime: EdgeRuntime) -> None:
    sound = sound_of((30.0, 1.0), (30.0, 0.0), (20.0, 1.0))
    answer = runtime.predict(Sample(audio=sound))
    assert answer.notes[0] == HOW
    assert answer.notes[1].startswith("30-60 s: nothing of it could be used: audio: the sound is silent")
    assert len(answer.notes) == 2
    ends = [probabilities(runtime, Sample(audio=sound_of((seconds, 1.0)))) for seconds in (30.0, 20.0)]
    np.testing.assert_allclose(list(answer.probabilities.values()), weighed(ends, [3.0, 2.0]), atol=0.02)


def test_a_voice_that_begins_after_a_minute_is_heard(runtime: EdgeRuntime) -> None:
    answer = runtime.predict(Sample(audio=sound_of((61.0, 0.0), (10.0, 1.0))))
    assert answer.modalities == ("audio",)
    with pytest.raises(DataError, match="silent"):
        runtime.predict(Sample(audio=sound_of((95.0, 0.0))))


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_windows_of_a_file_are_those_of_its_samples(runtime: EdgeRuntime, kind: str) -> None:
    sound, file = sound_of((40.0, 1.0), (40.0, 0.3)), BytesIO()
    soundfile.write(file, sound.samples, RATE, format=kind)
    encoders = runtime._current().encoders
    stored = [span.sample.audio.samples for span in Spans(Sample(audio=file.getvalue()), encoders)]
    assert [len(samples) for samples in stored] == pytest.approx([30 * RATE, 30 * RATE, 20 * RATE], abs=2_000)
    if kind != "OGG":
        np.testing.assert_allclose(np.concatenate(stored), sound.samples, atol=1e-4)


def test_what_is_not_longer_than_a_window_is_taken_as_ever(runtime: EdgeRuntime) -> None:
    encoders = runtime._current().encoders
    for seconds in (3.0, 30.0, 30.2):
        sample = Sample(text="so sad", audio=sound_of((seconds, 1.0)))
        assert [span.sample for span in Spans(sample, encoders)] == [sample]
    picture = Sample(video=Frames(drawn_face()[None]))
    assert [span.sample for span in Spans(picture, encoders)] == [picture]


def test_a_still_picture_goes_with_every_window_of_a_long_sound(runtime: EdgeRuntime, made) -> None:
    picture = made.picture_bytes(drawn_face())
    answer = runtime.predict(Sample(audio=sound_of((70.0, 1.0)), video=picture))
    assert answer.modalities == ("audio", "video")
    assert answer.notes == (HOW,)


def test_beyond_the_bound_a_note_says_how_much_was_used(runtime: EdgeRuntime) -> None:
    sample = Sample(audio=sound_of((100.0, 1.0)))
    spans = Spans(sample, runtime._current().encoders, longest_s=60.0)
    assert [span.end_s for span in spans] == [30.0, 60.0]
    assert spans.notes() == ("only the first 60 s of 100 s were used",)


def test_no_window_is_begun_when_the_time_is_over(runtime: EdgeRuntime) -> None:
    made = judge(Sample(audio=sound_of((70.0, 1.0))), runtime._current(), until_s=0.0)
    assert "only the first 30 s were used: the time was over" in made.notes
    assert made.notes[0].startswith("judged in 1 window of 30 s")


def test_ratings_of_windows_are_averaged_by_their_weights() -> None:
    ratings = [{"valence": 1.0}, {"valence": -1.0}]
    assert averaged(ratings, [3.0, 1.0]) == {"valence": 0.5}
    assert averaged(ratings, [0.0, 0.0]) == {"valence": 0.0}
    assert averaged([{}], [1.0]) == {}


def test_weights_are_shares_of_the_logits() -> None:
    one, other = np.array([0.7, 0.2, 0.1]), np.array([0.1, 0.2, 0.7])
    assert weighed([one], [0.0]) is one
    np.testing.assert_allclose(weighed([one, other], [1.0, 0.0]), one)
    np.testing.assert_allclose(weighed([one, one, one], [1.0, 2.0, 3.0]), one)
    even = weighed([one, other], [0.0, 0.0])
    assert even[0] == pytest.approx(even[2])
    assert even.sum() == pytest.approx(1)
    assert weighed([one, other], [2.0, 1.0]).argmax() == 0


@pytest.mark.parametrize("privacy", ["raw", "features"])
def test_the_cloud_gets_what_the_device_heard(make_bundle, made, tmp_path: Path, privacy: str) -> None:
    path, engine = tmp_path / "long.flac", Counting()
    made.write_sound(path, sound_of((25.0, 0.0), (35.0, 1.0), (31.0, 0.0), (9.0, 0.5)), "FLAC")
    unsure = Bundle.load(make_bundle(21, thresholds={"audio": 1.0}), trust=None)
    with (
        background(engine) as server,
        EdgeRuntime.load(unsure, cloud=connect(f"grpc://{server.grpc_target}"), privacy=privacy) as runtime,
    ):
        answer = runtime.predict(Sample(audio=path), deadline_ms=60_000)
    assert (answer.source, answer.modalities) == ("cloud", ("audio",)), answer
    assert answer.notes[0].startswith("judged in 4 windows of 30 s")
    assert answer.notes[-1] == "counted"
    assert len(engine.asked) == 3  # of the third window nothing could be used
    if privacy == "raw":
        seconds = [len(soundfile.read(BytesIO(request.sample.audio))[0]) / RATE for request in engine.asked]
        assert seconds == pytest.approx([30, 30, 10], abs=0.1)
