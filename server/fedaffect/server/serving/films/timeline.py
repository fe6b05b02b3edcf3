"""What a film's analysis gave: windows with a lane for each sense, words as they were said, changes."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

FUSED: Final = "fused"
PERSON: Final = "person-"
SEEN_WINDOWS: Final = 4
MOST_PEOPLE: Final = 8
# What people call what a modality is taken from.
SENSES: Final[Mapping[str, str]] = {"video": "face", "audio": "voice", "text": "words"}
# Below this confidence nothing is called a change.
SURE: Final = 0.5
# An emotion that leads in fewer windows in a row is taken for a flicker.
HELD_WINDOWS: Final = 2


@dataclass(frozen=True, slots=True)
class Judged:
    """What a lane says of one window.

    Parameters
    ----------
    label : str
    confidence : float
    probabilities : tuple of float
        In the order of the timeline's labels.
    """

    label: str
    confidence: float
    probabilities: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class FilmWindow:
    """One window.

    Parameters
    ----------
    start_s, end_s : float
        From the film's beginning.
    lanes : mapping of str to Judged
        By name: `FUSED`, a sense, or `PERSON` and a number; empty where nothing could be judged.
    request_id : str
        Of the fused answer, for feedback.
    note : str
        Why there is nothing, or what was left out.
    """

    start_s: float
    end_s: float
    lanes: Mapping[str, Judged] = field(default_factory=dict)
    request_id: str = ""
    note: str = ""

    @property
    def middle_s(self) -> float:
        """The moment that it stands for."""
        return (self.start_s + self.end_s) / 2


@dataclass(frozen=True, slots=True)
class Said:
    """Words, and when they were said.

    Parameters
    ----------
    start_s, end_s : float
    text : str
    """

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """Where the emotion becomes another one.

    Parameters
    ----------
    at_s : float
    before, after : str
    confidence : float
        In the first window of the new one.
    """

    at_s: float
    before: str
    after: str
    confidence: float


@dataclass(slots=True)
class Timeline:
    """All of it, as far as the film was analysed.

    Attributes
    ----------
    window_s, hop_s : float
    duration_s : float, optional
        None until it is known.
    labels : tuple of str
    model_version : str
    windows : list of FilmWindow
    words : list of Said
    words_note : str
        Why there are no words, or how their times were found.
    notes : list of str
    """

    window_s: float
    hop_s: float
    duration_s: float | None = None
    labels: tuple[str, ...] = ()
    model_version: str = ""
    windows: list[FilmWindow] = field(default_factory=list)
    words: list[Said] = field(default_factory=list)
    words_note: str = ""
    notes: list[str] = field(default_factory=list)

    def said(self, start_s: float, end_s: float) -> str:
        """Words that began between two moments."""
        return " ".join(said.text for said in self.between(start_s, end_s))

    def between(self, start_s: float, end_s: float) -> list[Said]:
        """The same one by one."""
        first, last = (bisect_left(self.words, at_s, key=lambda said: said.start_s) for at_s in (start_s, end_s))
        return self.words[first:last]

    @property
    def lanes(self) -> tuple[str, ...]:
        """Names of all lanes in which there is something: fused, the senses, and people where there are several.

        A face that was lost and found again may be two people to a machine; who was seen for less than `SEEN_WINDOWS`
        is left out, and of many the `MOST_PEOPLE` that were seen longest are told.
        """
        counts = Counter(name for window in self.windows for name in window.lanes)
        senses = [name for name in (FUSED, *SENSES.values()) if name in counts]
        seen = [name for name, count in counts.most_common() if name.startswith(PERSON) and count >= SEEN_WINDOWS][
            :MOST_PEOPLE
        ]
        return (*senses, *(sorted(seen, key=lambda name: int(name.removeprefix(PERSON))) if len(seen) > 1 else ()))

    def changes(self, lane: str = FUSED) -> list[Change]:
        """Where a lane's emotion becomes another one, and stays for `HELD_WINDOWS` windows, surely each time."""
        return changes(self.windows, lane)


def changes(windows: Sequence[FilmWindow], lane: str) -> list[Change]:
    """See `Timeline.changes`."""
    sure = [
        (window, judged)
        for window in windows
        if (judged := window.lanes.get(lane)) is not None and judged.confidence >= SURE
    ]
    held: list[tuple[FilmWindow, Judged]] = [here for here, after in pairwise(sure) if here[1].label == after[1].label]
    found: list[Change] = []
    for (_, before), (window, after) in pairwise(held):
        if before.label != after.label:
            found.append(Change(window.middle_s, before.label, after.label, after.confidence))
    return found
