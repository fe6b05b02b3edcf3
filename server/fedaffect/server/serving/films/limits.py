"""How large, how many and how long films may be, and how they are cut."""

from __future__ import annotations

from dataclasses import dataclass, fields

from fedaffect.edge.errors import ConfigError
from fedaffect.server.errors import InvalidRequest, RequestTooLarge
from fedaffect.server.serving.gateway.limits import Limits


@dataclass(frozen=True, slots=True)
class FilmLimits:
    """Bounds of films.

    Parameters
    ----------
    film_bytes : int
        Of one film.
    film_s : float
        How long it may last.
    film_pixels : int
        Of a frame: 4K.
    per_caller : int
        Films of one key that the server holds or remembers at once.
    all_bytes : int
        Of all films that are being sent or wait, and what is kept of those that were judged.
    example_bytes : int
        Of what the encoders made of one film, kept for corrections as long as its timeline is.
    at_once : int
        How many are analysed at once; the others wait.
    idle_s : float
        An upload that gets nothing for so long is given up.
    kept_s : float
        How long a timeline is remembered after it was last asked for.
    shortest_hop_s : float
        Between two windows.
    longest_window_s : float
    """

    film_bytes: int = 2 * 2**30
    film_s: float = 7200.0
    film_pixels: int = 4096 * 2304
    per_caller: int = 8
    all_bytes: int = 8 * 2**30
    example_bytes: int = 2**30
    at_once: int = 1
    idle_s: float = 600.0
    kept_s: float = 3600.0
    shortest_hop_s: float = 0.25
    longest_window_s: float = 10.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if (value := getattr(self, each.name)) <= 0:
                raise ConfigError(f"the limit {each.name} is {value}; it must be positive")

    def size(self, count: int) -> None:
        """Refuse a film of so many bytes where it is too large.

        Raises
        ------
        RequestTooLarge
        """
        if count > self.film_bytes:
            raise RequestTooLarge(
                f"the film has more than {self.film_bytes / 2**20:g} MiB; cut it, or save it in a smaller size"
            )


@dataclass(frozen=True, slots=True)
class FilmSettings:
    """How a film is cut, as streams are.

    Parameters
    ----------
    window_s, hop_s : float
        How long a window is, and how far the next one begins after it.
    """

    window_s: float = 3.0
    hop_s: float = 0.5

    def check(self, limits: FilmLimits, streams: Limits) -> None:
        """Refuse what is outside the limits.

        Raises
        ------
        InvalidRequest
        """
        low, high = streams.window_s[0], min(streams.window_s[1], limits.longest_window_s)
        if not low <= self.window_s <= high:
            raise InvalidRequest(f"window_s is {self.window_s:g}; choose {low:g} to {high:g}")
        if not limits.shortest_hop_s <= self.hop_s <= self.window_s:
            raise InvalidRequest(
                f"hop_s is {self.hop_s:g}; choose {limits.shortest_hop_s:g} to window_s, which is {self.window_s:g}"
            )
