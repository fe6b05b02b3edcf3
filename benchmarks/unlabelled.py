"""What a person gains whose voice is far from all whom the shared model learned from, without any label.

    python -m benchmarks.unlabelled --data-dir DIR [--bundle BUNDLE] [--test]

DIR holds ``nemo`` (Polish speech; the default fusion knows five of its speakers, one learned with ``shared_emotions
--leave-out nemo`` none), ``urdu`` (whose other speakers it learned from) and ``ravdess`` in their official layouts.
Each person is a device with a file of its own that keeps its clips, which come in a random order, two of them; what is
answered is compared with what the shared model alone answers, clip by clip. ``skewed`` lets two thirds of a person's
clips be neutral, as daily life has it. From how far on a voice is taken for another kind was chosen on the people of
the table without ``--test``.

Prints one JSON object a row: recall averaged over classes (UAR) and accuracy over all people's clips, shared and
personal, the share of people made worse by more than two points of accuracy, and the distance (median over people).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.speakers import SHARED, Clip, by_person, nemo, nemo_people, ravdess, uar, urdu
from fedaffect.edge import EdgeRuntime
from fedaffect.edge.bundle import usual_bundle_path
from fedaffect.edge.errors import DataError
from fedaffect.edge.personal import PersonalPart
from fedaffect.edge.runtime.opened import OpenBundle
from fedaffect.edge.sample import Sample
from fedaffect.edge.store import Journal
from fedaffect.edge.system.progress import working
from fedaffect.server.models.alignment.material import RAVDESS_DEV, RAVDESS_TEST

ORDERS: Final = 2
_CLIPS: Final = 80
_LEAST: Final = 8
_NEUTRAL: Final = 2 / 3
# Of one person, what the shared model says, what the device says, and what it was; the distance at the end.
Answers = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], float]


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--bundle", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--test", is_flag=True, help="The test people instead of those for development.")
def main(data_dir: Path, bundle: Path | None, test: bool) -> None:
    """Measure and print."""
    groups = {
        "nEMO": nemo_people(by_person(nemo(data_dir / "nemo")), test=test),
        "RAVDESS": by_person(ravdess(data_dir / "ravdess", RAVDESS_TEST if test else RAVDESS_DEV)),
    }
    if not test:
        groups["URDU, development speakers"] = by_person(urdu(data_dir / "urdu"))
    for name, people in groups.items():
        for skewed in (False, True):
            rows = [_person(bundle, own, order, skewed) for own in people.values() for order in range(ORDERS)]
            print(json.dumps({"corpus": name, "skewed": skewed, **_figures([row for row in rows if row])}), flush=True)


def _person(bundle: Path | None, clips: Sequence[Clip], order: int, skewed: bool) -> Answers | None:
    draw = np.random.default_rng(order)
    chosen = [clips[at] for at in draw.permutation(len(clips))]
    if skewed:
        # Calm counts as neutral.
        neutral = [clip for clip in chosen if SHARED.index(clip[1]) == SHARED.index("neutral")]
        others = [clip for clip in chosen if clip not in neutral]
        chosen = neutral + others[: round(len(neutral) * (1 - _NEUTRAL) / _NEUTRAL)]
        chosen = [chosen[at] for at in draw.permutation(len(chosen))]
    if len(chosen) < _LEAST:
        return None
    shared, own, meant = [], [], []
    folder = bundle or usual_bundle_path()
    with TemporaryDirectory() as scratch, working("answering", len(chosen[:_CLIPS])) as done, ExitStack() as opened:
        journal = Journal(Path(scratch) / "device.db", keep_examples=True)
        device = opened.enter_context(EdgeRuntime.load(folder, journal=journal, personal=True))
        store, plain = journal.examples, OpenBundle(device.bundle)
        for sample, label, _ in chosen[:_CLIPS]:
            done(1)
            try:
                answer = device.predict(Sample(audio=sample.audio))
            except DataError:
                continue
            # What the encoder made is kept as it was, so that it need not be made twice.
            kept = store.features(store.find(answer.request_id).id)  # type: ignore[union-attr]
            shared.append(int(plain.answer({m: t.astype(np.float32) for m, t in kept.items()})[0].argmax()))
            own.append(SHARED.labels.index(answer.label))
            meant.append(SHARED.index(label))
        with closing(PersonalPart(journal.path)) as part:
            distance = part.made(device.bundle).distances.get("audio", float("nan"))
    return np.array(shared), np.array(own), np.array(meant), distance


def _figures(people: Sequence[Answers]) -> Mapping[str, Any]:
    shared, own, meant = (np.concatenate([person[at] for person in people]) for at in range(3))
    gains = np.array([(o == m).mean() - (s == m).mean() for s, o, m, _ in people])
    return {
        "people": len(people) // ORDERS,
        "clips": len(meant),
        "shared_uar": round(uar(shared, meant), 3),
        "personal_uar": round(uar(own, meant), 3),
        "shared_accuracy": round(float((shared == meant).mean()), 3),
        "personal_accuracy": round(float((own == meant).mean()), 3),
        "lost_over_two_points": round(float((gains < -0.02).mean()), 3),
        "distance": round(float(np.nanmedian([person[3] for person in people])), 2),
    }


if __name__ == "__main__":
    main()
