"""What people's files do to decoders, and what hostile files try to: one place opens them all."""

from __future__ import annotations

import os
import struct
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from time import monotonic

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.beginning import beginning
from fedaffect.edge.media.opening import decoding_until, length_s
from fedaffect.edge.media.picture import decode_video, film, seen
from fedaffect.edge.media.sound import decode_audio, duration_s, has_sound, sound_track

RATE = 16_000


def voice(seconds: float = 2.0) -> NDArray[np.float32]:
    at = np.arange(int(seconds * RATE)) / RATE
    return (0.3 * np.sin(2 * np.pi * 220 * at) * (1 + np.sin(2 * np.pi * 3 * at)) / 2).astype(np.float32)


def track(samples: NDArray[np.float32], kind: str = "mp4", codec: str = "aac") -> bytes:
    """A sound in a container; samples of shape (N,) or (N, 2)."""
    file = BytesIO()
    layout = "mono" if samples.ndim == 1 else "stereo"
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream(codec, rate=RATE, layout=layout)
        planes = np.ascontiguousarray(samples.reshape(len(samples), -1).T)
        frame = av.AudioFrame.from_ndarray(planes, format="fltp", layout=layout)
        frame.sample_rate = RATE
        fitting = av.AudioResampler(stream.format.name, layout, RATE, frame_size=stream.frame_size or 1024)
        for piece in (*fitting.resample(frame), *fitting.resample(None)):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    return file.getvalue()


def moving(frames: int = 10, aspect: Fraction | None = None, kind: str = "matroska", rate_hz: int = 10) -> bytes:
    """A film with a bright square that goes down."""
    file = BytesIO()
    with av.open(file, "w", format=kind) as container:
        stream = container.add_stream("mpeg4", rate=rate_hz)
        stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 160, 120, "yuv420p", 2_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
            stream.sample_aspect_ratio = aspect
        for place in range(frames):
            image = np.full((120, 160, 3), 40, np.uint8)
            image[place % 60 : place % 60 + 40, 60:100] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return file.getvalue()


SDP = b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=video 5004 RTP/AVP 26\r\n"
OPENERS = {
    "sdp": SDP,
    "ffconcat": b"ffconcat version 1.0\nfile 'private.mkv'\n",
    "ffconcat of a name": b"ffconcat version 1.0\nfile private.mkv\nduration 5\nfile private.mkv\n",
    "playlist": b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nprivate.mkv\n#EXT-X-ENDLIST\n",
    "dash": b"<?xml version='1.0'?><MPD><Period><BaseURL>private.mkv</BaseURL></Period></MPD>",
    "rtsp": b"rtsp://127.0.0.1:5004/x",
    "image list": b"private%d.png",
    "subtitles": b"WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n",
}


@pytest.mark.parametrize("kind", OPENERS)
@pytest.mark.parametrize("stored", ["bytes", "path"])
def test_a_file_that_names_other_files_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, stored: str
) -> None:
    (tmp_path / "private.mkv").write_bytes(moving())
    (tmp_path / "clip").write_bytes(OPENERS[kind])
    monkeypatch.chdir(tmp_path)
    source = OPENERS[kind] if stored == "bytes" else Path("clip")
    assert not has_sound(source)
    for decode in (lambda: decode_video(source, 5.0, 10), lambda: decode_audio(source), lambda: list(film(source, 5))):
        with pytest.raises(DataError, match=r"download or record it again|holds no"):
            decode()


@pytest.mark.parametrize(
    "name", ["12:30:05.m4a", "./12:30:05.m4a", "http:x.m4a", "concat:a|b.m4a", "v%d.m4a", "-i.raw"]
)
def test_a_name_is_only_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes(track(voice()))
    assert duration_s(decode_audio(Path(name))) == pytest.approx(2.0, abs=0.2)
    assert has_sound(Path(name))


@pytest.mark.parametrize("suffix", ["raw", "mp3", "flac", "xi", "sd2"])
def test_an_ending_says_nothing_of_what_is_inside(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"v.{suffix}"
    voice().tofile(path)
    with pytest.raises(DataError, match="sound"):
        decode_audio(path)
    soundfile.write(path, voice(), RATE, format="WAV")
    assert duration_s(decode_audio(path)) == 2.0
    assert len(list(sound_track(path))) == 8


@pytest.mark.parametrize(
    ("kind", "codec"),
    [("mp4", "aac"), ("adts", "aac"), ("matroska", "libopus"), ("ogg", "libopus"), ("mp3", "libmp3lame")],
)
def test_flipped_bytes_cost_their_packets_and_not_the_track(kind: str, codec: str) -> None:
    data = bytearray(track(voice(6.0), kind, codec))
    draw = np.random.default_rng(3)
    for place in draw.integers(len(data) // 3, len(data) * 2 // 3, 3):
        data[place] ^= 0x5A
    sound, notes = beginning(bytes(data), 30.0)
    assert duration_s(sound) > 2.5
    assert all("damaged packet" in note or "breaks off" in note for note in notes)


def test_every_damaged_packet_is_counted() -> None:
    whole = track(voice(6.0))
    file, kept = BytesIO(), 0
    with av.open(BytesIO(whole)) as given, av.open(file, "w", format="matroska") as made:
        stream = made.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.dts is None:
                continue
            kept += 1
            spoiled = av.Packet(b"\xff" * packet.size if kept in (30, 31, 60) else bytes(packet))
            spoiled.pts, spoiled.dts, spoiled.time_base, spoiled.stream = (
                packet.pts,
                packet.dts,
                packet.time_base,
                stream,
            )
            made.mux(spoiled)
    sound, notes = beginning(file.getvalue(), 30.0)
    assert notes == ("3 damaged packets of the sound left out",)
    assert duration_s(sound) > 5.0


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_film_that_breaks_off_shows_what_came_before(share: float) -> None:
    data = moving(60)
    whole, part = decode_video(data, 5.0, 150), decode_video(data[: int(len(data) * share)], 5.0, 150)
    assert 0 < len(part.images) < len(whole.images)
    np.testing.assert_array_equal(part.images[0], whole.images[0])


def shredded(samples: int, step_s: float = 1 / RATE) -> bytes:
    """PCM of which every packet holds one sample."""
    file = BytesIO()
    with av.open(file, "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=RATE, layout="mono")
        for place in range(samples):
            packet = av.Packet(struct.pack("<h", 1000))
            packet.pts = packet.dts = round(place * step_s * 1000)
            packet.time_base, packet.stream = Fraction(1, 1000), stream
            container.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize("step_s", [1 / RATE, 0.001, 1.0])
def test_a_track_of_too_many_packets_is_read_no_further(step_s: float) -> None:
    sound, notes = beginning(shredded(12_000, step_s), 30.0)
    assert len(sound.samples) < 6_000
    assert notes == ("the sound is cut into too many packets; only its beginning was used",)


@pytest.mark.slow
def test_a_film_of_too_many_pictures_is_read_no_further() -> None:
    frames, notes = seen(moving(12_000, rate_hz=12_000), 5.0, 150)
    assert len(frames.images) <= 3
    assert notes == ("the film is cut into too many packets; only its beginning was used",)


def flac_of_unknown_length(seconds: float) -> bytes:
    file = BytesIO()
    soundfile.write(file, voice(seconds), RATE, format="FLAC", subtype="PCM_16")
    data = bytearray(file.getvalue())
    # STREAMINFO's 36 bits of total samples: zero where an encoder writes to a pipe.
    data[21] &= 0xF0
    data[22:26] = bytes(4)
    return bytes(data)


def wav_of_length(seconds: float, said: int) -> bytes:
    file = BytesIO()
    soundfile.write(file, voice(seconds), RATE, format="WAV", subtype="PCM_16")
    data = bytearray(file.getvalue())
    at = data.index(b"data") + 4
    data[4:8], data[at : at + 4] = struct.pack("<I", said), struct.pack("<I", said)
    return bytes(data)


@pytest.mark.parametrize(
    "data",
    [flac_of_unknown_length(4.0), wav_of_length(4.0, 0xFFFFFFFF), wav_of_length(4.0, 0)],
    ids=["flac to a pipe", "wav to a pipe", "wav of a recorder that stopped"],
)
def test_a_length_that_nobody_knows_is_not_told(data: bytes) -> None:
    sound, notes = beginning(data, 30.0)
    assert (duration_s(sound), notes) == (pytest.approx(4.0, abs=0.3), ())
    _, notes = beginning(data, 3.0)
    assert notes in (("only the first 3 s were heard",), ("only the first 3 s of 4 s were heard",))
    known = length_s(BytesIO(data))
    assert known is None or known == pytest.approx(4.0, abs=0.1)


def test_a_file_that_may_not_be_read_is_a_line(tmp_path: Path) -> None:
    path = tmp_path / "v.wav"
    soundfile.write(path, voice(), RATE)
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(DataError, match="check its permissions"):
        decode_audio(path)


@pytest.mark.parametrize("kind", ["mp4", "matroska", "ogg", "wav"])
def test_decoding_ends_when_its_time_is_over(kind: str) -> None:
    data = wav_of_length(2.0, 64_000) if kind == "wav" else track(voice(), kind, "libopus" if kind == "ogg" else "aac")
    with decoding_until(monotonic() - 1.0), pytest.raises(DataError, match=r"longer than there was time|cannot be"):
        decode_audio(data)
    with decoding_until(monotonic() + 600.0):
        assert duration_s(decode_audio(data)) > 1.9
    with decoding_until(monotonic() - 1.0), pytest.raises(DataError, match=r"longer than there was time|cannot be"):
        decode_video(moving(), 5.0, 10)
    assert len(decode_video(moving(), 5.0, 10).images) == 5


def test_nothing_else_opens_media() -> None:
    """Devices are opened by name, uploads and degraded pictures are its own, FER+'s archive is the user's corpus."""
    root = Path(__file__).parents[3]
    others = {
        "edge/media/capture.py",
        "edge/cloud/upload.py",
        "server/models/faces/votes.py",
        "simulation/preparing/degraded.py",
    }
    found = {
        path.as_posix().rpartition("fedaffect/")[2]
        for room in ("edge_runtime", "client", "server", "simulation")
        for path in (root / room).rglob("*.py")
        if any(call in path.read_text() for call in ("av.open(", "Image.open(", ".SoundFile(", "soundfile.read("))
    }
    assert found == {"edge/media/opening.py", *others}
