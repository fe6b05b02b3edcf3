"""How much of a sound is heard: an encoder takes its beginning, and the caller should know where it ends."""

from __future__ import annotations

from typing import Final

import av
import soundfile  # type: ignore[import-untyped]

from fedaffect.edge.media.sound import decode_audio, duration_s
from fedaffect.edge.media.source import open_stored
from fedaffect.edge.sample import Audio, Waveform

# A clip that was cut at the limit may be a frame longer; nothing is said of so little.
_SLACK_S: Final = 0.1


def beginning(source: Audio, max_seconds: float) -> tuple[Waveform, tuple[str, ...]]:
    """Decode a sound up to ``max_seconds``, with a note where there was more.

    Parameters
    ----------
    source : Path, bytes, ZipMember or Waveform
    max_seconds : float

    Returns
    -------
    sound : Waveform
        Mono, at its own rate.
    notes : tuple of str

    Raises
    ------
    DataError
        As `fedaffect.edge.media.sound.decode_audio`.
    """
    # A file's head may not say how long it is; whether more comes is seen by looking a little further.
    further = decode_audio(source, max_seconds + 2 * _SLACK_S)
    rate_hz = further.sample_rate_hz
    heard = Waveform(further.samples[: int(max_seconds * rate_hz)], rate_hz)
    if duration_s(further) < max_seconds + _SLACK_S:
        return heard, ()
    whole_s = _said_length_s(source)
    of = f" of {round(whole_s, 1):g} s" if whole_s is not None and whole_s > max_seconds else ""
    return heard, (f"only the first {max_seconds:g} s{of} were heard",)


def _said_length_s(source: Audio) -> float | None:
    """Length by the file's head, in seconds; None where it does not say."""
    if isinstance(source, Waveform):
        return duration_s(source)
    try:
        with soundfile.SoundFile(open_stored(source)) as file:
            return float(len(file) / file.samplerate)
    except soundfile.LibsndfileError:
        pass
    try:
        with av.open(open_stored(source), mode="r") as container:
            return container.duration / av.time_base if container.duration else None
    except (av.FFmpegError, ValueError):
        return None
