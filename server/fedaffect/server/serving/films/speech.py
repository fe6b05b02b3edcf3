"""Sound cut at its pauses, so that each piece can be written down by itself; and when its words were said."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.server.serving.films.timeline import Said

_FRAME_S: Final = 0.05
_PAUSE_S: Final = 0.3
_SHORTEST_S: Final = 4.0
_LONGEST_S: Final = 15.0
# A frame so much below the loudest one of a piece is a pause.
_BELOW_DB: Final = 30.0
_SILENT: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Utterance:
    """A piece of sound between two pauses.

    Parameters
    ----------
    start_s : float
        From the film's beginning.
    samples : float32 array, shape (N,)
    rate_hz : int
    """

    start_s: float
    samples: NDArray[np.float32]
    rate_hz: int

    @property
    def end_s(self) -> float:
        """Where it ends."""
        return self.start_s + len(self.samples) / self.rate_hz

    def said(self, text: str) -> list[Said]:
        """Its words one by one; each takes time by its length, between the first sound and the last."""
        words = text.split()
        if not words:
            return []
        levels = _levels(self.samples, self.rate_hz)
        loud = np.flatnonzero(levels > _threshold(levels))
        first = self.start_s + (float(loud[0]) if loud.size else 0.0) * _FRAME_S
        last = min(self.end_s, self.start_s + (float(loud[-1] + 1) if loud.size else len(levels)) * _FRAME_S)
        ends = np.cumsum([len(word) + 1 for word in words])
        edges = first + (last - first) * np.concatenate([[0.0], ends / ends[-1]])
        return [Said(float(edges[at]), float(edges[at + 1]), word) for at, word in enumerate(words)]


class Pauses:
    """Cuts a sound that comes bit by bit: after `_SHORTEST_S` at the first pause, after `_LONGEST_S` where it is least.

    Parameters
    ----------
    rate_hz : int
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._samples = np.zeros(0, np.float32)
        self._start = 0

    @property
    def cut_s(self) -> float:
        """Up to where the sound was cut."""
        return self._start / self._rate_hz

    def add(self, samples: NDArray[np.float32]) -> list[Utterance]:
        """Take what follows; the utterances that are complete by now."""
        self._samples = np.concatenate([self._samples, samples])
        made = []
        while (count := self._complete()) is not None:
            made.append(self._take(count))
        return made

    def last(self) -> list[Utterance]:
        """What is left at the end."""
        return [self._take(len(self._samples))] if len(self._samples) else []

    def _complete(self) -> int | None:
        frame, seconds = round(_FRAME_S * self._rate_hz), len(self._samples) / self._rate_hz
        if seconds < _SHORTEST_S + _PAUSE_S:
            return None
        levels = _levels(self._samples[: round(_LONGEST_S * self._rate_hz)], self._rate_hz)
        first, length = round(_SHORTEST_S / _FRAME_S), round(_PAUSE_S / _FRAME_S)
        spans = np.lib.stride_tricks.sliding_window_view(levels, length).max(axis=1)[first - length :]
        quiet = np.flatnonzero(spans <= _threshold(levels))
        if quiet.size:
            at = int(quiet[0])
        elif seconds >= _LONGEST_S:
            at = int(spans.argmin())
        else:
            return None
        return (first - length + at + length // 2) * frame

    def _take(self, count: int) -> Utterance:
        taken = Utterance(self._start / self._rate_hz, self._samples[:count], self._rate_hz)
        self._samples = self._samples[count:]
        self._start += count
        return taken


def _levels(samples: NDArray[np.float32], rate_hz: int) -> NDArray[np.float64]:
    """RMS of each frame, shape (N,); the last one may be short."""
    frame = round(_FRAME_S * rate_hz)
    padded = np.pad(samples, (0, -len(samples) % frame)).reshape(-1, frame)
    levels: NDArray[np.float64] = np.sqrt(np.square(padded, dtype=np.float64).mean(axis=1))
    return levels


def _threshold(levels: NDArray[np.float64]) -> float:
    return max(_SILENT, float(levels.max(initial=0.0)) * 10 ** (-_BELOW_DB / 20))
