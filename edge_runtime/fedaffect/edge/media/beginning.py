"""How much of a sound is heard: an encoder takes its beginning, and the caller should know where it ends."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from typing import Final

from fedaffect.edge.media.opening import Used, length_s
from fedaffect.edge.media.sound import SILENCE_DBFS, Block, blocks_of, duration_s, gathered, loudest_dbfs
from fedaffect.edge.media.source import describe, open_stored
from fedaffect.edge.sample import Audio, Waveform

# A clip that was cut at the limit may be a frame longer; nothing is said of so little.
_SLACK_S: Final = 0.1


def beginning(source: Audio, max_seconds: float) -> tuple[Waveform, tuple[str, ...]]:
    """Decode a sound up to ``max_seconds``, with a note of what was not heard.

    Where those seconds are silent, hearing begins with the first sound after them.

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
    used, name = Used(), describe(source)
    blocks = blocks_of(source, used)
    # A file's head may not say how long it is; whether more comes is seen by looking a little further.
    further = gathered(blocks, max_seconds + 2 * _SLACK_S, name)
    notes: tuple[str, ...] = ()
    if duration_s(further) >= max_seconds + _SLACK_S and loudest_dbfs(further) < SILENCE_DBFS:
        loud, silent_s = _first_sound(blocks)
        if loud is not None:
            silent_s += duration_s(further)
            further = gathered(chain([loud], blocks), max_seconds + 2 * _SLACK_S, name)
            notes = (f"the first {silent_s:.0f} s are silent and were left out",)
    rate_hz = further.sample_rate_hz
    heard = Waveform(further.samples[: int(max_seconds * rate_hz)], rate_hz)
    if duration_s(further) >= max_seconds + _SLACK_S:
        whole_s = _said_length_s(source)
        of = f" of {round(whole_s, 1):g} s" if whole_s is not None and whole_s > max_seconds else ""
        first = "next" if notes else "first"
        notes = (*notes, f"only the {first} {max_seconds:g} s{of} were heard")
    return heard, (*notes, *used.notes("sound"))


def _first_sound(blocks: Iterable[Block]) -> tuple[Block | None, float]:
    """The first block in which something is to be heard, None where there is none; how long those before it last."""
    silent_s = 0.0
    for block in blocks:
        channels = block.mix[:, None] if block.channels is None else block.channels
        if max(loudest_dbfs(Waveform(channel, block.rate_hz)) for channel in channels.T) >= SILENCE_DBFS:
            return block, silent_s
        silent_s += len(block.mix) / block.rate_hz
    return None, silent_s


def _said_length_s(source: Audio) -> float | None:
    """Length by the file's head, in seconds; None where it does not say."""
    if isinstance(source, Waveform):
        return duration_s(source)
    with open_stored(source) as file:
        return length_s(file)
