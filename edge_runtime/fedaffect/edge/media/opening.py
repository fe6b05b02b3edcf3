"""The one place where files that others made are opened, and how much of them is decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from time import monotonic
from typing import Any, BinaryIO, Final, TypeAlias

import av
import soundfile  # type: ignore[import-untyped]
from av.container import InputContainer
from av.stream import Disposition
from PIL import Image, UnidentifiedImageError

from fedaffect.edge.errors import DataError

MAX_PIXELS: Final = 64_000_000
# What decoders raise where a file is damaged or none of theirs.
FFMPEG_DAMAGE: Final = (av.FFmpegError, ValueError)
# FFmpeg's demuxers of whole files. The others read text that names further files, devices or addresses (playlists,
# ffconcat, SDP), guess at raw bytes, or belong to games of long ago.
_CONTAINERS: Final = (
    *("mov", "mp4", "m4a", "3gp", "matroska", "webm", "avi", "asf", "flv", "mpegts", "mpeg", "mpegvideo", "ogg"),
    *("mp3", "aac", "amr", "flac", "wav", "w64", "aiff", "au", "caf", "ac3", "eac3", "ape", "wv", "tta", "dv", "mxf"),
)
# Pillow's plug-ins that read one file by themselves; that of EPS would start Ghostscript.
_PICTURES: Final = (
    *("JPEG", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "JPEG2000", "PPM", "QOI", "ICO", "TGA", "PCX"),
)
# Brands of still pictures in ISO's base media format; Pillow knows AVIF and comes first.
_HEIF: Final = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_OPEN_S: Final = 10.0
# A length beyond ten years of sound stands for one that nobody knew when the head was written.
_BELIEVED_S: Final = 3e8
# Packets of a track, at most so many for each second of it and some for the beginning. The shortest that people have
# last 2.5 ms; a file cut finer costs a processor more than it holds.
_PACKETS_PER_SECOND: Final = 1_000
_PACKETS_FIRST: Final = 4_000

Frame: TypeAlias = Any  # av.AudioFrame or av.VideoFrame; PyAV's stubs do not tell a track's own


# When decoding must be done, on the clock of `time.monotonic`; set by whoever waits for it.
_UNTIL_S: ContextVar[float] = ContextVar("decoding_until_s", default=float("inf"))


@contextmanager
def decoding_until(until_s: float) -> Iterator[None]:
    """Give up what is decoded inside after a moment on the clock of ``time.monotonic``."""
    before = _UNTIL_S.set(until_s)
    try:
        yield
    finally:
        _UNTIL_S.reset(before)


def check_time() -> None:
    """Give up where the time for decoding is over.

    Raises
    ------
    DataError
    """
    if monotonic() > _UNTIL_S.get():
        raise DataError("decoding took longer than there was time; send a shorter or a simpler file")


@dataclass(slots=True)
class Used:
    """What of a file could not be used, while it is read.

    Attributes
    ----------
    damaged : int
        Packets that could not be decoded and were passed over.
    broken_off : bool
        Whether the file ended before its end.
    too_fine : bool
        Whether reading stopped because the track consists of too many packets.
    """

    damaged: int = 0
    broken_off: bool = False
    too_fine: bool = False

    def notes(self, track: str) -> tuple[str, ...]:
        """The same in words; nothing where all of it was used."""
        told = []
        if self.damaged:
            told.append(
                f"{self.damaged} damaged {'packet' if self.damaged == 1 else 'packets'} of the {track} left out"
            )
        if self.broken_off:
            told.append(f"the {track} breaks off; what comes before was used")
        if self.too_fine:
            told.append(f"the {track} is cut into too many packets; only its beginning was used")
        return tuple(told)


def open_container(file: BinaryIO) -> InputContainer:
    """Open a film or sound with FFmpeg, which sees its bytes and never a name, and may open nothing else.

    Raises
    ------
    av.FFmpegError, ValueError
        If it is no container of a whole file, or damaged.
    """
    container = av.open(
        file,
        mode="r",
        container_options={"format_whitelist": ",".join(_CONTAINERS), "protocol_whitelist": "none"},
        metadata_errors="replace",
        timeout=max(0.001, min(_OPEN_S, _UNTIL_S.get() - monotonic())),
    )
    for stream in container.streams.video:
        if stream.codec_context is not None:
            stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}
    return container


def tracks(container: InputContainer, kind: str) -> list[Any]:
    """A container's tracks of one kind, ``audio`` or ``video``, that FFmpeg has a decoder for; cover art is no film."""
    return [
        stream
        for stream in getattr(container.streams, kind)
        if stream.codec_context is not None and not stream.disposition & Disposition.attached_pic
    ]


def is_heif(file: BinaryIO) -> bool:
    """Whether a file is a HEIF picture, whose tiles and turns FFmpeg does not put together; where it was is kept."""
    place = file.tell()
    file.seek(0)
    head = file.read(12)
    file.seek(place)
    return head[4:8] == b"ftyp" and head[8:] in _HEIF


def open_sound(file: BinaryIO) -> soundfile.SoundFile | None:
    """Open a sound file with libsndfile; None where it is none of its kinds."""
    try:
        return soundfile.SoundFile(file)
    except (soundfile.LibsndfileError, TypeError, ValueError, OverflowError):
        return None


def open_picture(file: BinaryIO) -> Image.Image | None:
    """Open a picture with Pillow, which reads its head; None where it is none.

    Raises
    ------
    OSError, SyntaxError, ValueError, Image.DecompressionBombError
        If it is damaged or too large; see `fedaffect.edge.media.picture`.
    """
    try:
        return Image.open(file, formats=_PICTURES)
    except UnidentifiedImageError:
        return None


def length_s(file: BinaryIO) -> float | None:
    """Length of a sound or film by its head, in seconds; None where it does not say, or nonsense."""
    sound = open_sound(file)
    if sound is not None:
        with sound:
            if sound.frames:
                return believed_s(sound.frames / max(sound.samplerate, 1))
    file.seek(0)
    try:
        with open_container(file) as container:
            return believed_s((container.duration or 0) / av.time_base)
    except FFMPEG_DAMAGE:
        return None


def believed_s(seconds: float) -> float | None:
    """A length as a head says it; None where it cannot be one."""
    return seconds if 0 < seconds < _BELIEVED_S else None


def reason(error: Exception) -> str:
    """Why FFmpeg gave up, in its words and without ours."""
    return str(getattr(error, "strerror", None) or error)


def decoded(container: InputContainer, stream: Any, used: Used) -> Iterator[Frame | Fraction | None]:
    """Frames of one track, packet after packet; damaged ones are passed over and counted.

    Parameters
    ----------
    container : InputContainer
        As `open_container` opened it.
    stream : av.AudioStream or av.VideoStream
        Of the container.
    used : Used
        Told what could not be used.

    Yields
    ------
    AudioFrame, VideoFrame, Fraction or None
        For an empty packet, when in seconds it shows the picture before it again (None where it does not say): films
        with still moments have such.
    """
    packets, heard_s, first_s, last_s = 0, 0.0, None, 0.0
    for packet in _packets(container, stream, used):
        check_time()
        packets += 1
        if packets > _PACKETS_FIRST + _PACKETS_PER_SECOND * max(heard_s, last_s - (first_s or 0.0)):
            used.too_fine = True
            return
        if packet.size == 0 and not _is_flush(packet):
            yield None if packet.pts is None or packet.time_base is None else packet.pts * packet.time_base
            continue
        try:
            frames = packet.decode()
        except av.EOFError:
            continue
        except FFMPEG_DAMAGE:
            used.damaged += 1
            continue
        for frame in frames:
            if isinstance(frame, av.AudioFrame):
                heard_s += frame.samples / max(frame.sample_rate, 1)
            elif frame.time is not None:
                first_s = frame.time if first_s is None else first_s
                last_s = max(last_s, frame.time)
            yield frame


def _packets(container: InputContainer, stream: Any, used: Used) -> Iterator[Any]:
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except FFMPEG_DAMAGE:
            used.broken_off = True
            return
        if packet is None:
            return
        yield packet


def _is_flush(packet: Any) -> bool:
    """Whether this is what PyAV gives at the end, to get what the decoder still holds."""
    return packet.dts is None and packet.pts is None
