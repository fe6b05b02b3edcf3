"""How a bundle answers to faces of different groups of people; one command measures and prints all of it.

    python -m benchmarks.groups_of_faces --data-dir DATA [--bundle FOLDER]

``DATA`` holds ``fairface`` (its validation pictures and their table). Nobody says what these faces show, so nothing
here is right or wrong: the tables say how often no face is found, and how often each emotion is answered, by race,
gender and age as FairFace's annotators named them. A difference between groups is one of the pictures too: the web
has other pictures of children than of the old. Where two shares differ by more than two standard errors of their
difference, chance alone does so once in twenty times.
"""

from __future__ import annotations

import argparse
import csv
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rich.progress import track

from fedaffect.edge import EdgeRuntime, Sample
from fedaffect.edge.errors import DataError
from fedaffect.edge.runtime.faces import WHOLE

# A spreadsheet took these for dates.
_AGES: Final = {"03-Sep": "3-9", "Oct-19": "10-19"}
_GROUPS: Final = ("race", "gender", "age")
_NO_FACE: Final = "no face found"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one picture.

    Parameters
    ----------
    groups : mapping of str to str
        Race, gender and age.
    label : str, optional
        The emotion; None where nothing could be answered.
    found : bool
        Whether the detector found a face.
    """

    groups: Mapping[str, str]
    label: str | None
    found: bool


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--bundle", type=Path, help="the default one if not given")
    arguments = parser.parse_args()
    with EdgeRuntime.load(arguments.bundle) as runtime:
        pictures = list(_pictures(arguments.data_dir / "fairface"))
        answers = [_answer(runtime, path, groups) for path, groups in track(pictures, "faces")]
        labels = runtime.labels
    for group in _GROUPS:
        print(_table(answers, group, labels))


def _pictures(folder: Path) -> Iterator[tuple[Path, Mapping[str, str]]]:
    with (folder / "fairface_label_val.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            yield folder / row["file"], {**{g: row[g] for g in _GROUPS}, "age": _AGES.get(row["age"], row["age"])}


def _answer(runtime: EdgeRuntime, picture: Path, groups: Mapping[str, str]) -> Answer:
    try:
        said = runtime.predict(Sample(video=picture))
    except DataError:
        return Answer(groups, None, False)
    return Answer(groups, said.label, WHOLE not in said.notes)


def _table(answers: Sequence[Answer], group: str, labels: Sequence[str]) -> str:
    """Shares by group in per cent, and the largest difference between two groups with its standard error."""
    names = sorted({a.groups[group] for a in answers}, key=lambda name: (len(name.split("-")[0]), name))
    columns = {name: [a for a in answers if a.groups[group] == name] for name in names}
    lines = [f"| {group} | pictures | {_NO_FACE} | " + " | ".join(labels) + " |", "|---|" + "---:|" * (len(labels) + 2)]
    shares: dict[str, list[tuple[float, int]]] = {}
    for name, those in columns.items():
        answered = Counter(a.label for a in those if a.label is not None)
        row = [(sum(not a.found for a in those) / len(those), len(those))]
        row += [(answered[label] / max(answered.total(), 1), answered.total()) for label in labels]
        shares[name] = row
        lines.append(f"| {name} | {len(those)} | " + " | ".join(f"{100 * share:.1f}" for share, _ in row) + " |")
    gaps = [_gap([row[place] for row in shares.values()]) for place in range(len(labels) + 1)]
    lines.append("| *largest gap ± its standard error* | | " + " | ".join(gaps) + " |")
    return "\n".join(lines) + "\n"


def _gap(shares: Sequence[tuple[float, int]]) -> str:
    (high, of_high), (low, of_low) = max(shares), min(shares)
    error = math.sqrt(sum(share * (1 - share) / max(count, 1) for share, count in ((high, of_high), (low, of_low))))
    return f"{100 * (high - low):.1f} ± {100 * error:.1f}"


if __name__ == "__main__":
    main()
