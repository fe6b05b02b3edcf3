"""The last seconds of a film's sound and pictures, cut into windows; what no window can reach is let go."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fedaffect.edge.sample import Frames, Waveform
from fedaffect.server.serving.decoding.film import PICTURES_PER_SECOND, SOUND_HZ

# Times of pictures may be rounded.
_ROUNDING_S: Final = 5e-4


class Recent:
    """What was decoded lately.

    Attributes
    ----------
    heard_s, seen_s : float
        Up to where sound and pictures came.
    """

    def __init__(self) -> None:
        self._sound = np.zeros(0, np.float32)
        self._first = 0  # place of the first sample that is kept
        self._pictures: deque[tuple[float, NDArray[np.uint8]]] = deque()
        self.seen_s = 0.0

    @property
    def heard_s(self) -> float:
        """Up to where sound came."""
        return (self._first + len(self._sound)) / SOUND_HZ

    @property
    def kept(self) -> int:
        """How many pictures are kept."""
        return len(self._pictures)

    def hear(self, samples: NDArray[np.float32]) -> None:
        """Take sound that follows what came before."""
        self._sound = np.concatenate([self._sound, samples])

    def see(self, pictures: Sequence[tuple[float, NDArray[np.uint8]]]) -> None:
        """Take pictures with their times, in their order."""
        self._pictures.extend(pictures)
        if pictures:
            self.seen_s = pictures[-1][0] + 1 / PICTURES_PER_SECOND

    def forget(self, before_s: float) -> None:
        """Let go of what is older."""
        drop = min(max(int(before_s * SOUND_HZ) - self._first, 0), len(self._sound))
        self._sound, self._first = self._sound[drop:], self._first + drop
        while self._pictures and self._pictures[0][0] < before_s - _ROUNDING_S:
            self._pictures.popleft()

    def sound(self, start_s: float, end_s: float) -> Waveform | None:
        """Between two moments; None where there is none."""
        start, end = (max(0, round(at_s * SOUND_HZ) - self._first) for at_s in (start_s, end_s))
        samples = self._sound[start:end]
        return Waveform(samples, SOUND_HZ) if len(samples) else None

    def pictures(self, start_s: float, end_s: float) -> Frames | None:
        """Between two moments, of one size; None where there are none."""
        shown = [(at, image) for at, image in self._pictures if start_s <= at + _ROUNDING_S < end_s]
        if not shown:
            return None
        height, width = shown[-1][1].shape[:2]
        images = [
            image if image.shape[:2] == (height, width) else np.asarray(Image.fromarray(image).resize((width, height)))
            for _, image in shown
        ]
        return Frames(np.stack(images), PICTURES_PER_SECOND)
