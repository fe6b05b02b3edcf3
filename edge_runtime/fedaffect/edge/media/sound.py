"""Sound: decoded to mono, resampled to the encoder's rate, brought to one loudness."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Final

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.source import Stored, describe, open_stored
from fedaffect.edge.sample import Audio, Frames, Video, Waveform

MAX_SECONDS: Final = 30.0
# RMS of the loudest 20 ms: below what a sound card hears of itself; speech across a room is 20 dB above it.
SILENCE_DBFS: Final = -70.0
_RATES_HZ: Final = (1_000, 768_000)
_FRAME_S: Final = 0.02
_QUIET_DB: Final = 40.0
_PEAK: Final = 0.99


def decode_audio(source: Audio, max_seconds: float = MAX_SECONDS) -> Waveform:
    """Decode the first ``max_seconds`` of a sound and mix its channels to one.

    WAV, FLAC, OGG and MP3 are read by libsndfile, whatever it does not know (MP4, WebM, M4A, …) by FFmpeg.

    Parameters
    ----------
    source : Path, bytes, ZipMember or Waveform
        The sound, or a video with a sound track.
    max_seconds : float
        What comes after is not read, so that a long file costs no more than this.

    Raises
    ------
    DataError
        If it is missing, damaged, has no sound, or holds values that are not numbers.
    """
    if isinstance(source, Waveform):
        samples, rate_hz = source.samples, source.sample_rate_hz
        if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
            raise DataError(f"{describe(source)}: give the sample rate in Hz, {_RATES_HZ[0]} to {_RATES_HZ[1]}")
        samples = np.asarray(samples, dtype=np.float32)[: int(max_seconds * rate_hz)]
    else:
        stored = open_stored(source)
        try:
            samples, rate_hz = _read_sound_file(stored, max_seconds)
        except soundfile.LibsndfileError:
            samples, rate_hz = _read_container(stored, max_seconds, describe(source))
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if samples.ndim != 1 or samples.size == 0:
        raise DataError(f"{describe(source)} holds no sound; leave it out or record it again")
    if not np.isfinite(samples).all():
        raise DataError(f"{describe(source)} holds values that are not numbers; export it again")
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), rate_hz)


def _read_sound_file(stored: BytesIO | Path, max_seconds: float) -> tuple[NDArray[np.float32], int]:
    with soundfile.SoundFile(stored) as file:
        samples = file.read(frames=int(max_seconds * file.samplerate), dtype="float32", always_2d=True)
        return samples, int(file.samplerate)


def _read_container(stored: BytesIO | Path, max_seconds: float, name: str) -> tuple[NDArray[np.float32], int]:
    blocks: list[NDArray[np.float32]] = []
    rate_hz, wanted = 0, 0
    for block, rate_hz in _container_blocks(stored, name):
        blocks.append(block)
        wanted = int(max_seconds * rate_hz)
        if sum(map(len, blocks)) >= wanted:
            break
    samples = np.concatenate(blocks)[:wanted] if blocks else np.zeros(0, np.float32)
    return samples.astype(np.float32), rate_hz


def sound_track(source: Stored) -> Iterator[Waveform]:
    """A sound as it is decoded, mono, block after block, however long it is.

    Raises
    ------
    DataError
        On the way, where the file is missing, damaged, has no sound, or holds values that are not numbers.
    """
    stored, name = open_stored(source), describe(source)
    try:
        with soundfile.SoundFile(stored) as file:
            blocks = file.blocks(blocksize=file.samplerate // 4, dtype="float32", always_2d=True)
            yield from (_sane(block.mean(axis=1), int(file.samplerate), name) for block in blocks)
            return
    except soundfile.LibsndfileError:
        pass
    yield from (_sane(block, rate_hz, name) for block, rate_hz in _container_blocks(stored, name))


def _sane(samples: NDArray[np.float32], rate_hz: int, name: str) -> Waveform:
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds values that are not numbers; export it again")
    return Waveform(samples, rate_hz)


def _container_blocks(stored: BytesIO | Path, name: str) -> Generator[tuple[NDArray[np.float32], int], None, None]:
    if isinstance(stored, BytesIO):
        stored.seek(0)
    try:
        with av.open(str(stored) if isinstance(stored, Path) else stored, mode="r") as container:
            if not container.streams.audio:
                raise DataError(f"{name} has no sound track; leave audio out or use another file")
            stream = container.streams.audio[0]
            rate_hz = int(stream.rate)
            mono = av.AudioResampler(format="flt", layout="mono", rate=rate_hz)
            for frame in chain(container.decode(stream), [None]):
                for block in mono.resample(frame):
                    yield block.to_ndarray()[0], rate_hz
    except (av.FFmpegError, ValueError) as error:
        raise DataError(f"{name} cannot be decoded as sound ({error}); download or record it again") from error


def resample(sound: Waveform, sample_rate_hz: int) -> Waveform:
    """Band-limited resampling (soxr, high quality) to another rate."""
    if sound.sample_rate_hz == sample_rate_hz:
        return sound
    samples = soxr.resample(sound.samples, sound.sample_rate_hz, sample_rate_hz, quality="HQ")
    # A sound shorter than the filter may come out empty; one zero keeps it a sound.
    return Waveform(samples.astype(np.float32) if samples.size else np.zeros(1, np.float32), sample_rate_hz)


def normalise_loudness(sound: Waveform, target_dbfs: float) -> Waveform:
    """Scale so that the frames that carry sound have one level.

    The level is the RMS over 20 ms frames within 40 dB of the loudest, so pauses do not count. The gain is held back
    where it would push the highest peak above 0.99. Digital silence stays as it is.

    Parameters
    ----------
    sound : Waveform
        Any level.
    target_dbfs : float
        Wanted RMS, in decibels below full scale: -23 is a usual speech level.
    """
    samples = sound.samples
    frame = max(1, round(_FRAME_S * sound.sample_rate_hz))
    whole = samples[: len(samples) // frame * frame] if len(samples) >= frame else samples[: len(samples)]
    power = np.square(whole.reshape(-1, min(frame, len(whole))), dtype=np.float64).mean(axis=1)
    loudest = float(power.max())
    if loudest == 0.0:
        return sound
    rms = float(np.sqrt(power[power >= loudest * 10 ** (-_QUIET_DB / 10)].mean()))
    gain = min(10 ** (target_dbfs / 20) / rms, _PEAK / float(np.abs(samples).max()))
    return Waveform((samples * np.float32(gain)).astype(np.float32), sound.sample_rate_hz)


def has_sound(source: Audio | Video) -> bool:
    """Whether a file holds a sound track that FFmpeg can name; a picture, a silent film or a damaged file does not.

    Parameters
    ----------
    source : Path, bytes, ZipMember, Waveform or Frames
        Only files are looked into.
    """
    if isinstance(source, Waveform):
        return True
    if isinstance(source, Frames):
        return False
    try:
        stored = open_stored(source)
        with av.open(str(stored) if isinstance(stored, Path) else stored, mode="r") as container:
            return len(container.streams.audio) > 0
    except (av.FFmpegError, ValueError, DataError):
        return False


def loudest_dbfs(sound: Waveform) -> float:
    """RMS of the loudest 20 ms, in decibels below full scale; minus infinity for digital silence."""
    frame = max(1, round(_FRAME_S * sound.sample_rate_hz))
    samples = np.pad(sound.samples, (0, -len(sound.samples) % frame)).reshape(-1, frame)
    loudest = float(np.square(samples, dtype=np.float64).mean(axis=1).max())
    return 10 * float(np.log10(loudest)) if loudest > 0 else float("-inf")


def duration_s(sound: Waveform) -> float:
    """Length in seconds."""
    return len(sound.samples) / sound.sample_rate_hz
