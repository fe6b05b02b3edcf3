"""Five groups of people one after the other: what each run gives its group, and what it costs the groups before.

    python -m benchmarks.continual --data-dir DIR [--seeds 3] [--without-replay]

Nine speakers of nEMO, in Polish (the default fusion knows five of them, one learned with
``shared_emotions --leave-out nemo`` none), and URDU's speakers from whom it was not
learned, come in five groups: two, two and two of nEMO, those of URDU, and the last three of nEMO. Each group's run
starts from the bundle of the run before and learns from the group alone, 40 labelled clips each at most; the server
replays RAVDESS and URDU's people from whom the default fusion was learned. After every run each group so far is
measured on its other clips, and RAVDESS's actors 21 to 24 as guard. Who comes when changes with the seed.

Prints one JSON object a run, and at the end the largest loss of the first group and of the guard, in points of UAR.
"""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import click
import numpy as np

from benchmarks.circle import SETTINGS, Answers, Rows, Speakers, replay_of
from benchmarks.speakers import nemo, ravdess, uar_of, urdu
from fedaffect import EdgeRuntime, simulate
from fedaffect.server.models.alignment.material import RAVDESS_TEST

LABELLED: Final = 40
GROUPS: Final = ("first", "second", "third", "fourth", "fifth")
Group = dict[str, Rows]


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--seeds", default=3, show_default=True)
@click.option("--from-seed", default=0, show_default=True)
@click.option("--without-replay", is_flag=True)
def main(data_dir: Path, seeds: int, from_seed: int, without_replay: bool) -> None:
    """Measure and print."""
    spoken, others = nemo(data_dir / "nemo"), urdu(data_dir / "urdu")
    guard = ravdess(data_dir / "ravdess", RAVDESS_TEST)
    replay = {} if without_replay else {"replay": replay_of(data_dir)}
    with EdgeRuntime.load() as runtime:
        answers = Answers(runtime)
        for seed in range(from_seed, from_seed + seeds):
            lost = _chain(answers, _groups(spoken, others, seed), guard, seed, replay)
            print(json.dumps({"seed": seed, "replay": not without_replay, **lost}), flush=True)


def _chain(answers: Answers, groups: list[Group], guard: Rows, seed: int, replay: dict[str, Any]) -> dict[str, float]:
    known: dict[str, list[float]] = {"guard": [uar_of(answers.shared(guard), guard)]}
    with TemporaryDirectory() as out:
        start = "default"
        for place, (name, group) in enumerate(zip(GROUPS, groups, strict=True)):
            known[name] = [uar_of(answers.shared(group["dev"]), group["dev"])]
            result = simulate(
                dataset=Speakers({**group, "test": group["dev"]}),
                start_from=start,
                modalities=("audio",),
                seed=seed,
                clients_per_round=len({who for _, _, who in group["train"]}),
                modality_dropout=0.0,
                out=out,
                name=name,
                progress=False,
                **{**SETTINGS, **replay},
            )
            start = str(Path(out) / name)
            model = result.model(int(SETTINGS["rounds"]))
            measured = {one: groups[at]["dev"] for at, one in enumerate(GROUPS[: place + 1])} | {"guard": guard}
            for one, rows in measured.items():
                known[one].append(uar_of(answers.of(model, rows), rows))
            said = {one: round(values[-1], 4) for one, values in known.items()}
            print(json.dumps({"seed": seed, "after": name, **said}), flush=True)
    first, kept = known["first"], known["guard"]
    return {
        "first_gained": round(100 * (first[1] - first[0]), 1),
        "first_lost_at_most": round(100 * (first[1] - min(first[1:])), 1),
        "first_lost_at_the_end": round(100 * (first[1] - first[-1]), 1),
        "guard_lost_at_the_end": round(100 * (kept[0] - kept[-1]), 1),
    }


def _groups(spoken: Rows, others: Rows, seed: int) -> list[Group]:
    draw = np.random.default_rng(seed)
    names = [str(name) for name in draw.permutation(sorted({who for _, _, who in spoken}))]
    rest = sorted({who for _, _, who in others})
    made: list[Group] = []
    for rows, people in (
        (spoken, names[:2]),
        (spoken, names[2:4]),
        (spoken, names[4:6]),
        (others, rest),
        (spoken, names[6:]),
    ):
        group: dict[str, list[Any]] = {"train": [], "dev": []}
        for name in people:
            own = [row for row in rows if row[2] == name]
            order = draw.permutation(len(own))[:120]
            # URDU's speakers have 12 clips or so; half of them are labelled.
            labelled = min(LABELLED, len(order) // 2)
            group["train"] += [own[at] for at in order[:labelled]]
            group["dev"] += [own[at] for at in order[labelled:]]
        made.append(dict(group))
    return made


if __name__ == "__main__":
    main()
