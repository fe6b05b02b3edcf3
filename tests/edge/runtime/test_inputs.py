"""What people have: paths, bytes, arrays, of every kind that is named; and what they have that cannot be used."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.errors import DataError
from fedaffect.edge.media.picture import decode_video
from fedaffect.edge.runtime import sample_of
from fedaffect.edge.runtime.faces import find_faces
from fedaffect.edge.sample import Frames, Waveform, ZipMember


def silence(seconds: float = 1.0) -> Waveform:
    return Waveform(np.zeros(int(seconds * 16_000), np.float32), 16_000)


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG"])
def test_a_sound_file_its_bytes_and_its_samples_give_one_answer(runtime: EdgeRuntime, made, voice, tmp_path, kind):
    path = tmp_path / f"voice.{kind.lower()}"
    made.write_sound(path, voice, kind)
    by_path = runtime.predict(Sample(id="a", audio=path))
    by_bytes = runtime.predict(Sample(id="a", audio=path.read_bytes()))
    assert by_path.probabilities == by_bytes.probabilities
    assert by_path.modalities == ("audio",)
    by_array = runtime.predict(Sample(id="a", audio=voice))
    assert list(by_array.probabilities.values()) == pytest.approx(list(by_path.probabilities.values()), abs=0.1)


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_a_film_brings_its_sound_along(runtime: EdgeRuntime, made, voice, tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"film.{kind}"
    made.write_film(path, [made.face()] * 30, voice, kind=kind)
    sample = sample_of(video=path)
    assert sample.audio == path
    assert runtime.predict(sample).modalities == ("audio", "video")
    assert runtime.predict(sample_of(video=path.read_bytes())).modalities == ("audio", "video")


def test_a_silent_film_and_one_with_other_sound(made, voice, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    made.write_film(path, [made.face()] * 10)
    assert sample_of(video=path).audio is None
    made.write_film(path, [made.face()] * 10, voice)
    assert sample_of(video=path, audio=voice).audio is voice
    assert sample_of(video=made.picture_bytes(made.face())).audio is None
    assert sample_of(video=str(path), text="i").video == path


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_as_path_bytes_and_array(runtime: EdgeRuntime, made, tmp_path: Path, kind: str) -> None:
    data = made.picture_bytes(made.face(), kind)
    (tmp_path / "face").write_bytes(data)
    answers = [
        runtime.predict(Sample(id="a", video=video)) for video in (tmp_path / "face", data, Frames(made.face()[None]))
    ]
    assert {answer.modalities for answer in answers} == {("video",)}
    assert answers[0].probabilities == answers[1].probabilities
    assert answers[0].notes == ()


def test_nothing_at_all(runtime: EdgeRuntime) -> None:
    with pytest.raises(DataError, match="empty; give at least one of text, audio, video"):
        runtime.predict(Sample(id="a"))


def test_silence_is_left_out_and_alone_it_is_an_error(runtime: EdgeRuntime) -> None:
    answer = runtime.predict(Sample(id="a", text="i am sad", audio=silence()))
    assert answer.modalities == ("text",)
    assert "audio left out: the sound is silent" in answer.notes[0]
    with pytest.raises(DataError, match="silent; check the microphone"):
        runtime.predict(Sample(id="a", audio=silence()))


def test_noise_without_a_voice_counts_only_where_there_is_nothing_better(runtime: EdgeRuntime) -> None:
    noise = Waveform(np.random.default_rng(0).normal(0, 0.01, 16_000).astype(np.float32), 16_000)
    alone = runtime.predict(Sample(id="a", audio=noise))
    assert alone.modalities == ("audio",)
    assert "no voice was found" in alone.notes[0]
    assert runtime.predict(Sample(id="a", text="i am sad", audio=noise)).modalities == ("text",)


def test_a_room_without_a_face_is_left_out_and_alone_it_is_an_error(runtime: EdgeRuntime) -> None:
    room = Frames(np.full((15, 240, 426, 3), 90, np.uint8), 5.0)
    answer = runtime.predict(Sample(id="a", text="i am sad", video=room))
    assert answer.modalities == ("text",)
    assert "video left out: no face was found in any of 15 frames" in answer.notes[0]
    with pytest.raises(DataError, match=r"no face was found.*come nearer"):
        runtime.predict(Sample(id="a", video=room))
    with pytest.raises(DataError, match="no face was found in the picture"):
        runtime.predict(Sample(id="a", video=Frames(room.images[:1])))


def test_a_small_crop_is_a_face_and_a_large_square_one_is_taken_with_a_note(runtime: EdgeRuntime, made) -> None:
    crop = made.face(48, (48, 48), (0, 0))
    small = runtime.predict(Sample(id="a", video=Frames(crop[None])))
    assert small.notes == ()
    grey = np.full((224, 224, 3), 100, np.uint8)
    large = runtime.predict(Sample(id="a", video=Frames(grey[None])))
    assert large.modalities == ("video",)
    assert "taken whole" in large.notes[0]


def test_of_three_faces_the_largest_is_seen(runtime: EdgeRuntime, made) -> None:
    image = made.face(110, at=(300, 250))
    for side, at in ((64, (40, 60)), (72, (40, 480))):
        image[at[0] : at[0] + side, at[1] : at[1] + side] = made.face(side, (side, side), (0, 0))
    encoder = runtime._current().encoders["video"]
    (face,) = find_faces(Frames(image[None]), encoder.detector, encoder.settings).faces
    left, top, right, bottom = face.box
    assert ((left + right) / 2, (top + bottom) / 2) == pytest.approx((305, 360), abs=25)
    assert runtime.predict(Sample(id="a", video=Frames(image[None]))).modalities == ("video",)


def test_sound_that_is_not_numbers_is_left_out(runtime: EdgeRuntime, voice) -> None:
    samples = voice.samples.copy()
    samples[100] = np.nan
    broken = Waveform(samples, 16_000)
    answer = runtime.predict(Sample(id="a", text="sad", audio=broken))
    assert "audio left out" in answer.notes[0]
    assert "not numbers" in answer.notes[0]
    with pytest.raises(DataError, match="not numbers"):
        runtime.predict(Sample(id="a", audio=broken))


def test_four_thousand_pixels_wide(runtime: EdgeRuntime, made) -> None:
    large = np.repeat(np.repeat(made.face(), 6, axis=0), 6, axis=1)
    film = BytesIO()
    made.write_film(film, [large] * 2, rate_hz=2)
    assert large.shape == (2880, 3840, 3)
    assert runtime.predict(Sample(id="a", video=film.getvalue())).modalities == ("video",)


def test_a_video_of_no_length_and_sound_of_none(runtime: EdgeRuntime, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="of shape"):
        runtime.predict(Sample(id="a", video=Frames(np.zeros((0, 48, 48, 3), np.uint8), 5.0)))
    with pytest.raises(DataError, match="no sound"):
        runtime.predict(Sample(id="a", audio=Waveform(np.zeros(0, np.float32), 16_000)))
    (tmp_path / "film.mp4").touch()
    answer = runtime.predict(Sample(id="a", text="sad", video=tmp_path / "film.mp4"))
    assert "film.mp4 is empty" in answer.notes[0]


def test_a_film_without_frames(runtime: EdgeRuntime, made, voice, tmp_path: Path) -> None:
    path = tmp_path / "sound_only.mp4"
    made.write_film(path, [made.face()] * 10, voice)
    import av

    with av.open(str(path)) as film, av.open(str(tmp_path / "bare.mp4"), "w") as bare:
        track = bare.add_stream_from_template(film.streams.audio[0])
        bare.add_stream_from_template(film.streams.video[0])
        for packet in film.demux(film.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = track
                bare.mux(packet)
    answer = runtime.predict(sample_of(video=tmp_path / "bare.mp4"))
    assert answer.modalities == ("audio",)
    assert "video left out" in answer.notes[0]


def test_ten_megabytes_of_text(runtime: EdgeRuntime) -> None:
    answer = runtime.predict(Sample(id="a", text="so sad " * 1_500_000))
    assert answer.modalities == ("text",)
    assert "only the first 5 word pieces of 10,500,000 characters were read" in answer.notes[0]


@pytest.mark.parametrize("text", ["", " \n\t ", "\ud800", "\x00", "🙂" * 10])
def test_words_that_are_none(runtime: EdgeRuntime, text: str) -> None:
    if text.strip():
        assert runtime.predict(Sample(id="a", text=text)).modalities == ("text",)
    else:
        with pytest.raises(DataError, match="text is empty"):
            runtime.predict(Sample(id="a", text=text))


@pytest.mark.parametrize("damage", ["random", "cut", "flipped"])
@pytest.mark.parametrize("kind", ["wav", "flac", "mp4", "webm", "jpg", "png"])
def test_damaged_bytes_are_a_note_or_one_line(runtime: EdgeRuntime, made, voice, kind: str, damage: str) -> None:
    file = BytesIO()
    if kind in ("wav", "flac"):
        made.write_sound(file, voice, kind.upper())
    elif kind in ("mp4", "webm"):
        made.write_film(file, [made.face()] * 5, kind=kind)
    else:
        file.write(made.picture_bytes(made.face(), {"jpg": "JPEG", "png": "PNG"}[kind]))
    data = file.getvalue()
    rng = np.random.default_rng(5)
    if damage == "random":
        data = rng.bytes(len(data) // 4)
    elif damage == "cut":
        data = data[: len(data) // 3]
    else:
        spoiled = np.frombuffer(data, np.uint8).copy()
        places = rng.integers(0, len(spoiled), len(spoiled) // 50)
        spoiled[places] = rng.integers(0, 256, len(places))
        data = spoiled.tobytes()
    modality = "audio" if kind in ("wav", "flac") else "video"
    answer = runtime.predict(Sample(id="a", text="sad", **{modality: data}))
    assert answer.modalities in (("text",), ("text", modality))
    # A decoder may still find something in bytes that were flipped; what it cannot use, it says.
    if answer.modalities == ("text",):
        assert f"{modality} left out" in answer.notes[0]
        with pytest.raises(DataError, match=f"{modality}: "):
            runtime.predict(Sample(id="a", **{modality: data}))
    assert damage != "random" or answer.modalities == ("text",)


def test_several_that_cannot_be_used_are_all_named(runtime: EdgeRuntime, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing is left.*text: .*empty.*audio: .*silent.*video: .*exist"):
        runtime.predict(Sample(id="a", text=" ", audio=silence(), video=tmp_path / "none.mp4"))


def test_a_member_of_an_archive(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    from zipfile import ZipFile

    with ZipFile(tmp_path / "faces.zip", "w") as archive:
        archive.writestr("one.png", made.picture_bytes(made.face()))
    assert runtime.predict(Sample(id="a", video=ZipMember(tmp_path / "faces.zip", "one.png"))).modalities == ("video",)


def test_a_telephone_held_upright(runtime: EdgeRuntime, made, tmp_path: Path) -> None:
    """The picture lies on its side and says so; where it does not say so, the face is sought on its side too."""
    import av

    path = tmp_path / "lying.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 480, 640, "yuv420p"
        stream.bit_rate = 4_000_000
        for _ in range(5):
            lying = np.ascontiguousarray(np.rot90(made.face(), -1))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(lying, format="rgb24")))
        container.mux(stream.encode(None))
    assert runtime.predict(Sample(id="a", video=path)).modalities == ("video",)
    assert decode_video(path, 5.0, 1).images.shape == (1, 640, 480, 3)
    data = bytearray(path.read_bytes())
    # The track header's matrix: turn by 90 degrees counterclockwise.
    at = data.index(b"tkhd") + 4 + 40
    for place, value in enumerate((0, -0x10000, 0, 0x10000, 0, 0, 0, 480 << 16, 0x40000000)):
        data[at + 4 * place : at + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    assert runtime.predict(Sample(id="a", video=bytes(data))).modalities == ("video",)
    assert decode_video(bytes(data), 5.0, 1).images.shape == (1, 480, 640, 3)


def test_plain_words_are_a_sample_of_text(runtime: EdgeRuntime) -> None:
    assert runtime.predict("i am sad").probabilities == runtime.predict(Sample(text="i am sad")).probabilities
    assert list(runtime.features("i am sad")) == ["text"]


@pytest.mark.parametrize("asked", [Path("voice.wav"), b"RIFF", np.zeros(4), None, {"text": "i am sad"}])
def test_what_does_not_say_its_modality_is_refused_with_what_to_pass(runtime: EdgeRuntime, asked: object) -> None:
    with pytest.raises(TypeError, match=rf"a {type(asked).__name__} does not say .* Sample\(audio=Path"):
        runtime.predict(asked)


def test_samples_without_an_id_are_told_apart() -> None:
    assert Sample(text="i").id != Sample(text="i").id
