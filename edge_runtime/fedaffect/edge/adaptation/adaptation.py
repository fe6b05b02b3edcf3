"""What an app does about what a person shows."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Adaptation:
    """How to look, sound and go on now.

    Parameters
    ----------
    state : str
        What the person is taken to be in, by the policy's names; ``plain`` where nothing is sure.
    response : str
        Which of the policy's responses this is.
    theme, tone, pace : str
        By the policy's names: colours, manner of writing, speed.
    speed : float
        Of speech and of what moves, as a share of the usual one.
    manner : str
        How to write in that tone, in the language that was chosen.
    cues : tuple of str
        Sentences to show or say, in that language.
    share : float
        Of probability that the state has, averaged over the last answers; 0 to 1.
    policy : str
        The policy's version.
    decision : str
        Under which a reward is given for it, where what helps is learned; else empty.
    note : str
        Why nothing is learned from it although that was asked for; else empty.
    """

    state: str
    response: str
    theme: str
    tone: str
    pace: str
    speed: float
    manner: str
    cues: tuple[str, ...]
    share: float
    policy: str
    decision: str = ""
    note: str = ""

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of the fields."""
        return asdict(self) | {"cues": list(self.cues)}
