"""Lines that say an emotion by one word, in the few words that the tiny bundle knows. Constructed, nobody said them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import numpy as np

MARKS: Final = {"joy": "happy", "sadness": "sad", "anger": "not", "fear": "did"}
_OTHERS: Final = ("i", "am", "so", "today", "you")


def write_lines(folder: Path, people: int = 10, each: int = 24, seed: int = 0) -> Path:
    """A folder with a table of lines by several speakers, and return it."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    rows = ["text,label,speaker"]
    for person in range(people):
        for number in range(each):
            label = tuple(MARKS)[number % len(MARKS)]
            # Two words: a line this short is anybody's, and may be said by those who guard too.
            words = [MARKS[label], str(rng.choice(_OTHERS))]
            rows.append(f"{' '.join(rng.permutation(words))},{label},p{person}")
    (folder / "lines.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder
