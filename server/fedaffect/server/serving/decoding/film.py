"""One long film, decoded as it is asked for in a process of its own; memory does not grow with its length."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import DataError
from fedaffect.server.serving.decoding.messages import BrokenMessage
from fedaffect.server.serving.decoding.process import DIED, LARGE, LATE, Process, array_of, error_of

_WORKER: Final = (sys.executable, "-P", "-m", "fedaffect.server.serving.decoding.film_worker")
# For one piece: a second of a film, which a file may make hard.
_PIECE_S: Final = 60.0
_GRACE_S: Final = 0.3

SOUND_HZ: Final = 16_000
PICTURES_PER_SECOND: Final = 5.0


@dataclass(frozen=True, slots=True)
class FilmFacts:
    """What a film's head says.

    Parameters
    ----------
    duration_s : float, optional
        None where it does not say: browsers record so.
    pictures, sound : bool
        Whether it has a track of them that can be decoded.
    """

    duration_s: float | None
    pictures: bool
    sound: bool


class FilmReader:
    """Sound and pictures of one film, each from its beginning to its end; not shared by threads.

    Parameters
    ----------
    file : int
        Number of an open file; may be closed once this is made.
    command : sequence of str, optional
        A program like `fedaffect.server.serving.decoding.film_worker`.
    """

    def __init__(self, file: int, command: Sequence[str] = _WORKER) -> None:
        self._process = Process(command, (file,))
        self.sound_ended = False
        self.pictures_ended = False

    def open(self, longest_s: float, pixels: int) -> FilmFacts:
        """Look at its head.

        Raises
        ------
        InvalidRequest
            If it is no film.
        RequestTooLarge
            If it is longer than ``longest_s`` or has more pixels.
        DataError
            If decoding fails.
        """
        given = {"longest_s": longest_s, "pixels": pixels, "rate_hz": SOUND_HZ}
        head, _ = self._ask("open", given | {"pictures_per_second": PICTURES_PER_SECOND})
        said = head.get("duration_s")
        facts = FilmFacts(
            float(said) if isinstance(said, int | float) else None, bool(head["pictures"]), bool(head["sound"])
        )
        self.sound_ended, self.pictures_ended = not facts.sound, not facts.pictures
        return facts

    def sound(self, samples: int) -> NDArray[np.float32]:
        """The next samples, shape (N,), mono at 16 kHz; fewer than asked for at the end.

        Raises
        ------
        DataError
        """
        head, body = self._ask("sound", {"samples": samples})
        self.sound_ended = bool(head.get("ended"))
        return array_of(head, body, np.dtype(np.float32), 1) if "shape" in head else np.zeros(0, np.float32)

    def pictures(self, end_s: float, most: int = 16) -> list[tuple[float, NDArray[np.uint8]]]:
        """The next pictures before a moment, five a second, each with its time in seconds and (H, W, 3).

        None where all before that moment were taken; several calls may be needed, as one gives at most ``most``.

        Raises
        ------
        DataError
        """
        head, body = self._ask("pictures", {"end_s": end_s, "most": most})
        self.pictures_ended = bool(head.get("ended"))
        if "shape" not in head:
            return []
        images = array_of(head, body, np.dtype(np.uint8), 4)
        times = [float(at_s) for at_s in head.get("times_s", ())]
        if len(times) != len(images):
            raise DataError(DIED)
        return list(zip(times, images, strict=True))

    def notes(self) -> tuple[str, ...]:
        """What of it could not be used."""
        head, _ = self._ask("notes", {})
        return tuple(map(str, head.get("notes", ())))

    def close(self) -> None:
        """End the process."""
        self._process.kill()

    def _ask(self, do: str, given: Mapping[str, Any]) -> tuple[dict[str, Any], NDArray[np.uint8]]:
        until_s = time.monotonic() + _PIECE_S
        try:
            head, body = self._process.ask({"do": do, "left_s": _PIECE_S, **given}, b"", until_s + _GRACE_S)
        except TimeoutError:
            raise DataError(LATE) from None
        except (BrokenMessage, OSError):
            raise DataError(DIED) from None
        if head.get("error") == "MemoryError":
            raise DataError(LARGE)
        if "error" in head:
            raise error_of(head)
        return head, body
