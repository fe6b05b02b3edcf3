"""Sound: decoded to mono, resampled to the encoder's rate, brought to one loudness."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any, BinaryIO, Final

import av
import numpy as np
import soundfile  # type: ignore[import-untyped]
import soxr  # type: ignore[import-untyped]
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.edge.media.opening import (
    FFMPEG_DAMAGE,
    Used,
    check_time,
    decoded,
    open_container,
    open_sound,
    reason,
    tracks,
)
from fedaffect.edge.media.source import describe, open_stored
from fedaffect.edge.sample import Audio, Frames, Video, Waveform

MAX_SECONDS: Final = 30.0
# RMS of the loudest 20 ms: below what a sound card hears of itself; speech across a room is 20 dB above it.
SILENCE_DBFS: Final = -70.0
_RATES_HZ: Final = (1_000, 768_000)
# 32 channels at 48 kHz. A compressed file of more unpacks to gigabytes.
_VALUES_PER_SECOND: Final = 32 * 48_000
_BLOCKS_PER_SECOND: Final = 4
# The mean of the channels has lost the signal where less than a tenth of the loudest one's power is left of it.
_LOST: Final = 0.1
_FRAME_S: Final = 0.02
_QUIET_DB: Final = 40.0
_PEAK: Final = 0.99


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a sound.

    Parameters
    ----------
    mix : float32 array, shape (N,)
        The mean of its channels, as the decoder weighs them.
    channels : float32 array, shape (N, C), optional
        None where there is only one.
    rate_hz : int
    """

    mix: NDArray[np.float32]
    channels: NDArray[np.float32] | None
    rate_hz: int


class Mixdown:
    """One channel of several: their mean, or the loudest where the mean loses the signal.

    Channels in antiphase cancel each other: a balanced microphone on a stereo jack, a cable soldered the wrong way.
    What was heard up to now decides, so that a sound that comes in pieces does not change with each.
    """

    def __init__(self) -> None:
        self._mixed = 0.0
        self._powers: NDArray[np.float64] | None = None
        self._taken = 0

    def __call__(self, block: Block) -> NDArray[np.float32]:
        """The samples to take of a block, shape (N,)."""
        if block.channels is None:
            return block.mix
        powers = np.square(block.channels, dtype=np.float64).sum(axis=0)
        self._mixed += float(np.square(block.mix, dtype=np.float64).sum())
        same = self._powers is not None and self._powers.shape == powers.shape
        self._powers = self._powers + powers if same and self._powers is not None else powers
        loudest = int(self._powers.argmax())
        if self._mixed >= _LOST * self._powers[loudest]:
            return block.mix
        # Of channels that are about as loud, the one that was taken before goes on.
        if not same or self._powers[self._taken] < self._powers[loudest] / 2:
            self._taken = loudest
        return np.ascontiguousarray(block.channels[:, self._taken])


def decode_audio(source: Audio, max_seconds: float = MAX_SECONDS) -> Waveform:
    """Decode the first ``max_seconds`` of a sound and mix its channels to one.

    WAV, FLAC, OGG and MP3 are read by libsndfile, whatever it does not know or finds nothing in (MP4, WebM, M4A, …) by
    FFmpeg.

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
    return gathered(blocks_of(source, Used()), max_seconds, describe(source))


def gathered(blocks: Iterable[Block], seconds: float, name: str) -> Waveform:
    """What the next blocks of a sound hold, mono, up to so many seconds.

    Raises
    ------
    DataError
        If there is nothing in them, or values that are not numbers.
    """
    pieces: list[Block] = []
    count, wanted, rate_hz = 0, 1, 0
    for block in blocks:
        rate_hz = rate_hz or block.rate_hz
        wanted = int(seconds * rate_hz)
        pieces.append(block)
        count += len(block.mix)
        if count >= wanted:
            break
    if count == 0:
        raise DataError(f"{name} holds no sound; leave it out or record it again")
    mix = np.concatenate([piece.mix for piece in pieces])[:wanted]
    several = [piece.channels for piece in pieces if piece.channels is not None]
    if several and len(several) == len(pieces) and len({piece.shape[1] for piece in several}) == 1:
        mix = Mixdown()(Block(mix, np.concatenate(several)[:wanted], rate_hz))
    return _sane(mix, rate_hz, name)


def sound_track(source: Audio, used: Used | None = None) -> Iterator[Waveform]:
    """A sound as it is decoded, mono, block after block, however long it is.

    Parameters
    ----------
    source : Path, bytes, ZipMember or Waveform
    used : Used, optional
        Told what cannot be used.

    Raises
    ------
    DataError
        On the way, where the file is missing, damaged, has no sound, or holds values that are not numbers.
    """
    yield from _mono(blocks_of(source, used or Used()), describe(source))


def sound_track_in(file: BinaryIO, name: str, used: Used) -> Iterator[Waveform]:
    """As `sound_track`, of an open file that messages call ``name``."""
    return _mono(_blocks_in(file, name, used), name)


def _mono(blocks: Iterable[Block], name: str) -> Iterator[Waveform]:
    mixdown = Mixdown()
    for block in blocks:
        yield _sane(mixdown(block), block.rate_hz, name)


def blocks_of(source: Audio, used: Used) -> Iterator[Block]:
    """A sound piece by piece as it is decoded; ``used`` is told what cannot be used of it.

    Raises
    ------
    DataError
        As `decode_audio`.
    """
    name = describe(source)
    if isinstance(source, Waveform):
        yield from _blocks_of_waveform(source, name)
        return
    with open_stored(source) as file:
        yield from _blocks_in(file, name, used)


def _blocks_in(file: BinaryIO, name: str, used: Used) -> Iterator[Block]:
    count = 0
    try:
        for block in _sound_file_blocks(file, name):
            count += len(block.mix)
            yield block
    except soundfile.LibsndfileError:
        pass
    else:
        if count:
            return
    # libsndfile does not know it, finds nothing in it or stumbles on the way: FFmpeg goes on from there.
    file.seek(0)
    try:
        yield from _container_blocks(file, name, used, count)
    except DataError:
        if not count:
            raise
        used.broken_off = True


def _blocks_of_waveform(sound: Waveform, name: str) -> Iterator[Block]:
    rate_hz = sound.sample_rate_hz
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        raise DataError(f"{name}: give the sample rate in Hz, {_RATES_HZ[0]} to {_RATES_HZ[1]}")
    samples = np.asarray(sound.samples, dtype=np.float32)
    if samples.ndim == 2:
        samples = samples.mean(axis=1)
    if samples.ndim != 1:
        raise DataError(f"{name} holds no sound; leave it out or record it again")
    step = max(1, rate_hz // _BLOCKS_PER_SECOND)
    for start in range(0, len(samples), step):
        yield Block(samples[start : start + step], None, rate_hz)


def _sound_file_blocks(file: BinaryIO, name: str) -> Iterator[Block]:
    sound = open_sound(file)
    if sound is None:
        return
    with sound:
        rate_hz = int(sound.samplerate)
        _check_rate(rate_hz, sound.channels, name)
        while True:
            # A file that is read on and on says its length wrongly often enough: what comes is what counts.
            check_time()
            values = sound.read(frames=max(1, rate_hz // _BLOCKS_PER_SECOND), dtype="float32", always_2d=True)
            if not len(values):
                return
            yield Block(values.mean(axis=1), values if values.shape[1] > 1 else None, rate_hz)


def _check_rate(rate_hz: int, channels: int, name: str) -> None:
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1] or rate_hz * channels > _VALUES_PER_SECOND:
        raise DataError(f"{name} has {channels} channels at {rate_hz} Hz; export it with 1 or 2 at 16000 to 48000 Hz")


def _sane(samples: NDArray[np.float32], rate_hz: int, name: str) -> Waveform:
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds values that are not numbers; export it again")
    return Waveform(np.ascontiguousarray(samples, dtype=np.float32), rate_hz)


def _container_blocks(file: BinaryIO, name: str, used: Used, skip: int) -> Generator[Block, None, None]:
    """A sound track as FFmpeg decodes it, without its first ``skip`` samples."""
    try:
        with open_container(file) as container:
            if not (found := tracks(container, "audio")):
                raise DataError(f"{name} has no sound track; leave audio out or use another file")
            stream = found[0]
            rate_hz = int(stream.rate or 0)
            _check_rate(rate_hz, max(stream.channels, 1), name)
            for block in _mixed(_frames(container, stream, used), rate_hz):
                if skip < len(block.mix):
                    channels = None if block.channels is None else block.channels[skip:]
                    yield Block(block.mix[skip:], channels, rate_hz)
                skip = max(0, skip - len(block.mix))
    except FFMPEG_DAMAGE as error:
        raise DataError(f"{name} cannot be decoded as sound ({reason(error)}); download or record it again") from error


def _frames(container: Any, stream: Any, used: Used) -> Iterator[av.AudioFrame]:
    return (frame for frame in decoded(container, stream, used) if isinstance(frame, av.AudioFrame))


def _mixed(frames: Iterable[Any], rate_hz: int) -> Iterator[Block]:
    """Decoded frames as blocks at one rate; the sound of a call may change its channels on the way."""
    kind: tuple[Any, ...] = ()
    resamplers: tuple[av.AudioResampler, ...] = ()
    for frame in chain(frames, [None]):
        now = kind if frame is None else (frame.format.name, frame.layout.name, frame.sample_rate)
        if now != kind:
            yield from _resampled(resamplers, None, rate_hz)
            resamplers = (av.AudioResampler(format="flt", layout="mono", rate=rate_hz),)
            if frame.layout.nb_channels > 1:
                resamplers += (av.AudioResampler(format="fltp", layout=frame.layout, rate=rate_hz),)
            kind = now
        yield from _resampled(resamplers, frame, rate_hz)


def _resampled(resamplers: tuple[av.AudioResampler, ...], frame: Any, rate_hz: int) -> Iterator[Block]:
    """What the resamplers to one channel and, where there are several, to all of them make of a frame."""
    made = [[block.to_ndarray().astype(np.float32) for block in each.resample(frame)] for each in resamplers]
    if not made or not made[0]:
        return
    mix = np.concatenate(made[0], axis=1)[0]
    apart = np.concatenate(made[1], axis=1).T if len(made) > 1 and made[1] else None
    yield Block(mix, apart if apart is not None and len(apart) == len(mix) else None, rate_hz)


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
        with open_stored(source) as file, open_container(file) as container:
            return bool(tracks(container, "audio"))
    except (*FFMPEG_DAMAGE, DataError):
        return False


def loudest_dbfs(sound: Waveform) -> float:
    """RMS of the loudest 20 ms, in decibels below full scale; minus infinity for digital silence."""
    frame = max(1, round(_FRAME_S * sound.sample_rate_hz))
    samples = np.pad(sound.samples, (0, -len(sound.samples) % frame)).reshape(-1, frame)
    loudest = float(np.square(samples, dtype=np.float64).mean(axis=1).max())
    return 10 * float(np.log10(loudest)) if loudest > 0 else float("-inf")


def require_sound(sound: Waveform) -> None:
    """See that something can have been said.

    Raises
    ------
    DataError
        If it is silent throughout.
    """
    if loudest_dbfs(sound) < SILENCE_DBFS:
        raise DataError("the sound is silent; check the microphone or leave audio out")


def duration_s(sound: Waveform) -> float:
    """Length in seconds."""
    return len(sound.samples) / sound.sample_rate_hz
