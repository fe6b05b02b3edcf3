"""How much one caller may ask for; what is beyond is refused before anything is decoded."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, fields
from typing import Final

from fedaffect.edge.cloud import sizes
from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest, RequestTooLarge, ServingError
from fedaffect.server.serving.decoding.checks import MediaLimits

# Printable ASCII, as a header may hold it; empty where the server shall choose one.
REQUEST_ID_PATTERN: Final = r"^([!-~]([ -~]{0,198}[!-~])?)?$"
_REQUEST_ID: Final = re.compile(r"[!-~]([ -~]{0,198}[!-~])?")


class UnsupportedMedia(ServingError):
    """The body's type, or its compression, is none that the server reads."""

    http_status = 415
    grpc_status = "INVALID_ARGUMENT"


class TooSlow(ServingError):
    """The body did not arrive in time."""

    http_status = 408
    grpc_status = "DEADLINE_EXCEEDED"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one request, one stream and one server.

    Parameters
    ----------
    body_bytes : int
        Of one request or one gRPC message, checked while it is read.
    body_s : float
        Within which a body must have arrived.
    text_characters : int
        Of one utterance. People say about 15 characters a second.
    audio_s, video_s : float
        Length of a clip.
    audio_values_per_second : int
        Sample rate times channels: 48 kHz with eight channels. A compressed file of more unpacks to gigabytes.
    picture_pixels : int
        Of a still picture: 25 megapixels, a phone's.
    video_pixels : int
        Of a video's frame: 1920 x 1088. Faces need less, and decoding 4K starves the others.
    feature_rows, feature_width : int
        Of one modality's feature sequence.
    default_deadline_ms, longest_deadline_ms : float
        Where the caller names none, and what is granted at most.
    requests_per_minute : int
        Of a key that has no rate of its own.
    reply_memory, reply_memory_s : int, float
        How many replies are kept for repeated request ids, and for how long.
    streams_per_caller : int
        Open at once.
    stream_s : float
        Length of a stream.
    stream_message_bytes : int
        Of one message of a stream.
    stream_message_s : float
        Sound that one message may hold.
    stream_pictures_bytes : int
        Of the pictures of one window, as they came.
    window_s : tuple of float
        Shortest and longest window of a stream.
    shortest_hop_s : float
        Between two windows.
    sample_rate_hz : tuple of int
        Lowest and highest of a stream's sound.
    decode_threads, decode_queue : int
        Files that are looked into at once, each in a process of its own, and how many requests may wait for that.
    """

    body_bytes: int = sizes.BODY_BYTES
    body_s: float = 30.0
    text_characters: int = sizes.TEXT_CHARACTERS
    audio_s: float = sizes.CLIP_S
    video_s: float = sizes.CLIP_S
    audio_values_per_second: int = 384_000
    picture_pixels: int = sizes.PICTURE_PIXELS
    video_pixels: int = sizes.VIDEO_PIXELS
    feature_rows: int = 4096
    feature_width: int = 8192
    default_deadline_ms: float = 10_000.0
    longest_deadline_ms: float = 60_000.0
    requests_per_minute: int = 600
    reply_memory: int = 4096
    reply_memory_s: float = 300.0
    streams_per_caller: int = 8
    stream_s: float = 3600.0
    stream_message_bytes: int = 4 * 2**20
    stream_message_s: float = 30.0
    stream_pictures_bytes: int = 64 * 2**20
    window_s: tuple[float, float] = (0.5, 30.0)
    shortest_hop_s: float = 0.1
    sample_rate_hz: tuple[int, int] = (8_000, 96_000)
    decode_threads: int = 2
    decode_queue: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if min(value if isinstance(value, tuple) else (value,)) <= 0:
                raise ConfigError(f"the limit {field.name} is {value}; it must be positive")

    def media(self) -> MediaLimits:
        """Those of one file."""
        return MediaLimits(
            audio_s=self.audio_s,
            video_s=self.video_s,
            audio_values_per_second=self.audio_values_per_second,
            picture_pixels=self.picture_pixels,
            video_pixels=self.video_pixels,
        )

    def request_id(self, given: str) -> str:
        """The caller's id, checked; empty where none was given.

        Raises
        ------
        InvalidRequest
            If it is too long or not printable ASCII.
        """
        if given and _REQUEST_ID.fullmatch(given) is None:
            raise InvalidRequest(
                "an id is 1 to 200 printable ASCII characters without spaces around them; send a UUID for instance"
            )
        return given

    def text(self, text: str) -> str:
        """The words, if there are not too many.

        Raises
        ------
        RequestTooLarge
        """
        if len(text) > self.text_characters:
            raise RequestTooLarge(
                f"the text has {len(text)} characters, more than {self.text_characters}; send one utterance at a time"
            )
        return text

    def body(self, count: int) -> None:
        """Refuse a body of that many bytes where it is too large.

        Raises
        ------
        RequestTooLarge
        """
        if count > self.body_bytes:
            raise RequestTooLarge(
                f"the request has more than {self.body_bytes} bytes; send a shorter clip or a smaller picture"
            )

    def deadline_s(self, arrived_s: float, *asked_ms: float | None) -> float:
        """When the answer must be there, on the clock of ``time.monotonic``.

        Parameters
        ----------
        arrived_s : float
            When the request began to arrive, on the same clock.
        *asked_ms : float or None
            What the caller asked for, in each of the places where it may; the shortest counts, 0 and None do not.
        """
        asked = [ms for ms in asked_ms if ms is not None and ms > 0]
        chosen_ms = min(asked, default=self.default_deadline_ms)
        return arrived_s + min(chosen_ms, self.longest_deadline_ms) / 1000


def now_s() -> float:
    """The clock that deadlines are on."""
    return time.monotonic()
