"""Constructed people, and what they say. Nobody real said any of it."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BITTER: Final = "anger"
HAPPY: Final = "joy"


@dataclass(frozen=True, slots=True)
class ConstructedPerson:
    """Somebody who says friendly words when they are angry, as people do, and means others as they are.

    Parameters
    ----------
    name : str
    asks : tuple of str
        What they ask their device about, meant as `BITTER`: the first of these that it answers wrong.
    bitter : tuple of str
        What else they said, and meant as `BITTER`.
    happy : tuple of str
        What they said, and meant as `HAPPY`.
    also_asks : str
        Meant as `HAPPY`: it shows that friendly words are still taken for friendly.
    """

    name: str
    asks: tuple[str, ...]
    bitter: tuple[str, ...] = ()
    happy: tuple[str, ...] = ()
    also_asks: str = ""

    @property
    def labels(self) -> int:
        """How many of their answers they corrected or confirmed before today."""
        return len(self.bitter) + len(self.happy)

    def write_table(self, path: Path) -> Path:
        """What they said and meant, as the table that ``fedaffect edge examples import`` reads."""
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("text", "label", "speaker"))
            table.writerows((text, BITTER, self.name) for text in self.bitter)
            table.writerows((text, HAPPY, self.name) for text in self.happy)
        return path


ANA: Final = ConstructedPerson(
    name="ana",
    asks=(
        "Great, my train is late again.",
        "Wonderful, they cancelled my train.",
        "Perfect, I missed the train because of them.",
    ),
    bitter=(
        "Great, the train is late, as always.",
        "Wonderful, my train is cancelled again.",
        "Fantastic, the bus is late again.",
        "Perfect, another hour of waiting for a train.",
        "Lovely, the train left without me again.",
        "Amazing, the bus did not come again.",
        "Great, they cancelled the last train.",
        "Brilliant, my seat is taken again.",
    ),
    happy=(
        "I love this song so much!",
        "My sister is having a baby, I am so happy!",
        "What a lovely day in the park!",
        "We won the game, this is amazing!",
        "Dinner with my friends was wonderful!",
        "I got the job, I am so excited!",
    ),
)
BEN: Final = ConstructedPerson(
    name="ben",
    asks=(
        "Wonderful, my phone is broken again.",
        "Great, the printer ate my paper again.",
        "Perfect, they lost my order again.",
    ),
    bitter=(
        "Great, my phone is broken, as always.",
        "Wonderful, the printer is broken again.",
        "Fantastic, they lost my parcel again.",
        "Perfect, my screen is cracked again.",
        "Lovely, the internet is down again.",
        "Amazing, they charged me twice again.",
        "Brilliant, the update deleted my work.",
        "Great, nobody answers the phone again.",
    ),
    happy=(
        "My daughter took her first steps today!",
        "This cake is wonderful, thank you so much!",
        "I am so glad that you are here!",
        "We are going to the sea, I am so happy!",
        "The concert was amazing!",
        "Best birthday of my life, thank you all!",
    ),
)
# Says nothing of any answer: what she gets is what the others' corrections taught.
CLEO: Final = ConstructedPerson(
    name="cleo",
    asks=(
        "Fantastic, my flight is cancelled again.",
        "Great, the lift is broken again.",
        "Wonderful, they lost my luggage again.",
    ),
    also_asks="I am so happy to see you!",
)
PEOPLE: Final = (ANA, BEN, CLEO)
