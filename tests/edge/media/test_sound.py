from __future__ import annotations

from io import BytesIO
from pathlib import Path
from zipfile import ZipFile

import av
import numpy as np
import pytest
import soundfile

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.sound import decode_audio, duration_s, normalise_loudness, resample
from fedaffect.edge.sample import Waveform, ZipMember

RATE = 16_000


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.3, rate: int = RATE) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)).astype(np.float32)


def loudest_hz(sound: Waveform) -> float:
    spectrum = np.abs(np.fft.rfft(sound.samples * np.hanning(len(sound.samples))))
    return float(spectrum.argmax() * sound.sample_rate_hz / len(sound.samples))


def write_mp4(path: Path, samples: np.ndarray, rate: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("format", ["WAV", "FLAC", "OGG"])
def test_channels_are_mixed(format: str) -> None:
    file = BytesIO()
    soundfile.write(file, np.stack([tone(440), np.zeros(RATE, np.float32)], axis=1), RATE, format=format)
    sound = decode_audio(file.getvalue())
    assert sound.samples.shape == (RATE,)
    assert loudest_hz(sound) == pytest.approx(440, abs=2)
    assert np.abs(sound.samples[2000:-2000]).max() == pytest.approx(0.15, abs=0.02)


def test_sound_of_a_video_container(tmp_path: Path) -> None:
    write_mp4(tmp_path / "clip.mp4", tone(440, rate=44_100), 44_100)
    sound = resample(decode_audio(tmp_path / "clip.mp4"), RATE)
    assert duration_s(sound) == pytest.approx(1.0, abs=0.1)
    assert loudest_hz(sound) == pytest.approx(440, abs=3)
    assert loudest_hz(resample(decode_audio((tmp_path / "clip.mp4").read_bytes()), RATE)) == pytest.approx(440, abs=3)


def test_sound_in_an_archive(tmp_path: Path) -> None:
    file = BytesIO()
    soundfile.write(file, tone(300), RATE, format="FLAC")
    with ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("x/one.flac", file.getvalue())
    assert loudest_hz(decode_audio(ZipMember(tmp_path / "a.zip", "x/one.flac"))) == pytest.approx(300, abs=2)


def test_long_sounds_are_cut_where_asked() -> None:
    assert duration_s(decode_audio(Waveform(tone(100, 5), RATE), 2.0)) == 2.0
    file = BytesIO()
    soundfile.write(file, tone(100, 5), RATE, format="WAV")
    assert duration_s(decode_audio(file.getvalue(), 2.0)) == 2.0


def test_resampling_leaves_no_alias() -> None:
    mixed = Waveform(tone(1000, rate=48_000) + tone(11_000, rate=48_000), 48_000)
    down = resample(mixed, RATE)
    power = np.abs(np.fft.rfft(down.samples * np.hanning(len(down.samples))))
    assert loudest_hz(down) == pytest.approx(1000, abs=2)
    assert power[4500:5500].max() < power.max() / 1000  # 11 kHz would fold to 5 kHz


@pytest.mark.parametrize("amplitude", [0.003, 0.03, 0.3])
def test_loudness_is_one_whatever_it_was_and_pauses_do_not_count(amplitude: float) -> None:
    sound = np.concatenate([tone(200, 1, amplitude), np.zeros(3 * RATE, np.float32)])
    levelled = normalise_loudness(Waveform(sound, RATE), -23.0)
    rms_dbfs = 20 * np.log10(np.sqrt(np.mean(np.square(levelled.samples[:RATE]))))
    assert rms_dbfs == pytest.approx(-23.0, abs=0.5)


def test_loudness_never_clips_and_leaves_silence() -> None:
    click = np.zeros(RATE, np.float32)
    click[::400] = 1e-3
    assert np.abs(normalise_loudness(Waveform(click, RATE), -3.0).samples).max() == pytest.approx(0.99, rel=1e-3)
    silence = Waveform(np.zeros(100, np.float32), RATE)
    assert not normalise_loudness(silence, -23.0).samples.any()


@pytest.mark.parametrize(
    ("source", "says"),
    [
        (Path("nowhere/one.wav"), "one.wav"),
        (b"", "empty"),
        (b"this is no sound" * 20, "320 bytes"),
        (Waveform(np.array([np.nan, 0.0], np.float32), RATE), "not numbers"),
        (Waveform(np.zeros(0, np.float32), RATE), "no sound"),
        (Waveform(np.zeros(5, np.float32), 0), "sample rate"),
    ],
)
def test_what_is_broken_is_named(source: object, says: str) -> None:
    with pytest.raises(DataError, match=says):
        decode_audio(source)  # type: ignore[arg-type]


def test_truncated_flac_is_an_error_or_shorter(tmp_path: Path) -> None:
    file = BytesIO()
    soundfile.write(file, tone(300), RATE, format="FLAC")
    (tmp_path / "cut.flac").write_bytes(file.getvalue()[:30])
    with pytest.raises(DataError, match=r"cut\.flac"):
        decode_audio(tmp_path / "cut.flac")
