"""What a personal part gains each person, against how many of their clips they labelled.

    python -m benchmarks.personal --data-dir DIR

DIR holds ``nemo`` (Polish speech; the default fusion knows five of its speakers, one learned with ``shared_emotions
--leave-out nemo`` none), ``ravdess`` and ``meld`` in their official layouts. The default bundle answers; each person's
labels come from clips drawn at random, five draws each, and the gain is measured on all other clips of theirs. How
strong the priors are, and by how much a part must win before it is used, was chosen on the development people; ``test``
people were looked at for the table alone.

Prints one JSON object a row: mean gain in points of accuracy, its worst decile over people and draws, the share of
those who lost more than two points, and how long learning takes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.speakers import SHARED, Clip, by_person, lines, nemo, nemo_people, ravdess
from fedaffect.edge import EdgeRuntime
from fedaffect.edge.errors import DataError
from fedaffect.edge.personal import learned_from
from fedaffect.edge.system.progress import working
from fedaffect.server.models.alignment.material import RAVDESS_DEV, RAVDESS_TEST

LABELS: Final = (0, 4, 8, 16, 32)
DRAWS: Final = 5
_NEMO_CLIPS: Final = 110
_MELD_LEAST: Final = 96
Clips = Mapping[str, Sequence[Clip]]
Person = tuple[NDArray[np.float64], NDArray[np.int64]]


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--test", is_flag=True, help="The test people instead of those for development.")
def main(data_dir: Path, test: bool) -> None:
    """Measure and print."""
    groups = {
        "nEMO": _nemo(data_dir / "nemo", test),
        "RAVDESS": by_person(ravdess(data_dir / "ravdess", RAVDESS_TEST if test else RAVDESS_DEV)),
        "MELD": _meld(data_dir / "meld", "test" if test else "dev"),
    }
    with EdgeRuntime.load() as runtime:
        for name, clips in groups.items():
            people = _answered(runtime, name, clips)
            for count in LABELS:
                print(
                    json.dumps({"corpus": name, "split": "test" if test else "dev", **_gains(people, count)}),
                    flush=True,
                )


def _answered(runtime: EdgeRuntime, name: str, clips: Clips) -> dict[str, Person]:
    found: dict[str, Person] = {}
    with working(f"answering {name}", sum(map(len, clips.values()))) as done:
        for person, own in clips.items():
            rows, classes = [], []
            for sample, label, _ in own:
                place = SHARED.index(label)
                done(1)
                try:
                    answer = runtime.predict(sample)
                except DataError:
                    continue
                if place is not None:
                    rows.append([answer.probabilities[one] for one in SHARED.labels])
                    classes.append(place)
            found[person] = np.array(rows), np.array(classes)
    return found


def _gains(people: Mapping[str, Person], count: int) -> dict[str, Any]:
    shared, gains, used, seconds = [], [], [], []
    for probabilities, labels in people.values():
        for draw in range(DRAWS):
            order = np.random.default_rng(draw).permutation(len(labels))
            own, other = order[:count], order[max(LABELS) :]
            began_s = time.perf_counter()
            learned = learned_from(probabilities[own], labels[own])
            seconds.append(time.perf_counter() - began_s)
            plain = probabilities[other]
            adjusted = plain if learned.head is None else learned.head(plain)
            shared.append((plain.argmax(axis=1) == labels[other]).mean())
            gains.append((adjusted.argmax(axis=1) == labels[other]).mean() - shared[-1])
            used.append(learned.head is not None)
    return {
        "people": len(people),
        "labels": count,
        "shared": round(float(np.mean(shared)), 3),
        "gain": round(float(np.mean(gains)), 3),
        "worst_decile": round(float(np.quantile(gains, 0.1)), 3),
        "lost_over_two_points": round(float(np.mean(np.array(gains) < -0.02)), 3),
        "used": round(float(np.mean(used)), 2),
        "learning_ms": round(float(np.median(seconds)) * 1000, 1),
    }


def _nemo(folder: Path, test: bool) -> Clips:
    draw = np.random.default_rng(0)
    people = by_person(nemo(folder))
    drawn = {name: [own[at] for at in draw.permutation(len(own))[:_NEMO_CLIPS]] for name, own in people.items()}
    return nemo_people(drawn, test=test)


def _meld(folder: Path, split: str) -> Clips:
    people = by_person(lines("meld", folder, split))
    return {name: own for name, own in people.items() if len(own) >= _MELD_LEAST}


if __name__ == "__main__":
    main()
