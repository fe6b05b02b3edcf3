"""From people's corrections to a better bundle, in simulation: what it gives whom, and what it costs others.

    python -m benchmarks.circle --data-dir DIR [--words] [--seeds 5] [--epsilon 8]

Speakers of nEMO are clients, in Polish (the default fusion knows five of them, one learned with
``shared_emotions --leave-out nemo`` none): six take part with 40 labelled clips
each, three stay out. A federation starts from the default bundle's fusion (`--start-from default`) and learns from
those clips; after each round the server replays the people of RAVDESS and URDU from whom that fusion was learned,
without which learning from a new group makes the model forget others (``--without-replay``). Before and after, in UAR:
the participants' other clips, the three who stayed out, and RAVDESS's actors 21 to 24, whom nobody learned from, as
guard; then the participants with a personal part on top. Who stays out and which clips are labelled changes with the
seed. ``--dev`` gives, in place of those who stayed out and of the guard, what settings were chosen by: the
participants' other clips and RAVDESS's actors 19 and 20.

``--words``: the same with words. The six friends of MELD's test split, whose lines the default bundle never learned
from, are clients; two stay out. EmoryNLP's test split is the guard, and the training lines of both corpora are
replayed. `benchmarks.circle_devices` has both over sockets.

Prints one JSON object a seed, and their mean and standard deviation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any, Final

import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.speakers import SHARED, Clip, classes_of, emorynlp, meld, nemo, ravdess, uar_of
from fedaffect import EdgeRuntime, simulate
from fedaffect.client.corpora.base import Corpus, CorpusInfo, Utterance
from fedaffect.edge.calibration.temperature import softmax
from fedaffect.edge.personal import learned_from
from fedaffect.edge.system.progress import working
from fedaffect.server.models.alignment.material import RAVDESS_DEV, RAVDESS_TEST

LABELLED: Final = 40
# Chosen by --dev.
SETTINGS: Final[Mapping[str, Any]] = {"rounds": 20, "lr": 1e-3, "local_epochs": 2, "learned": "adapters"}
Rows = Sequence[Clip]


class Speakers(Corpus):
    """Clips of some people: ``train`` of who takes part, ``dev`` their other ones, ``test`` of who stays out."""

    info = CorpusInfo(
        name="speakers",
        title="speakers who take part and who do not",
        modalities=("audio", "text"),
        label_set="shared7",
        label_sets=("shared7",),
        licence="as nEMO, or MELD",
        size="4,481 clips of 9 speakers, or some 2,000 lines of 6",
        where="see nEMO and MELD",
        needs="what these need",
        counts=MappingProxyType({}),
        client="speaker",
        faces="none",
        citation="Christop: nEMO, LREC-COLING 2024; Poria et al.: MELD, ACL 2019",
    )

    def __init__(self, splits: Mapping[str, Rows]) -> None:
        self._splits = splits

    def __iter__(self) -> Iterator[Utterance]:
        for split, rows in self._splits.items():
            for sample, label, who in rows:
                yield Utterance(sample=sample, label=label, split=split, speaker=who, client=who)

    def fingerprint(self) -> str:
        """Of the clips' names and splits."""
        names = [f"{split} {sample.id}" for split, rows in self._splits.items() for sample, _, _ in rows]
        return sha256("\n".join(names).encode()).hexdigest()


@click.command(help=__doc__)
@click.option("--data-dir", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True)
@click.option("--words", is_flag=True, help="MELD's speakers and EmoryNLP instead of nEMO's and RAVDESS.")
@click.option("--seeds", default=5, show_default=True)
@click.option("--from-seed", default=0, show_default=True, help="Go on from this one.")
@click.option("--epsilon", type=float, help="With noise on each device; without it there is none.")
@click.option("--secagg", is_flag=True, help="The server sees sums alone.")
@click.option("--without-replay", is_flag=True)
@click.option("--dev", is_flag=True, help="What settings are chosen by.")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting of the runs instead of ours.")
def main(
    data_dir: Path,
    words: bool,
    seeds: int,
    from_seed: int,
    epsilon: float | None,
    secagg: bool,
    without_replay: bool,
    dev: bool,
    given: tuple[str, ...],
) -> None:
    """Measure and print."""
    settings = {**SETTINGS, **(_private(epsilon) if epsilon else {}), **({"secagg": True} if secagg else {})}
    settings |= {} if without_replay else {"replay": replay_of(data_dir, words=words)}
    settings |= {name: json.loads(value) for name, value in (one.split("=", 1) for one in given)}
    spoken, guard = material(data_dir, words=words, dev=dev)
    with EdgeRuntime.load() as runtime:
        answers = Answers(runtime)
        found = []
        for seed in range(from_seed, from_seed + seeds):
            found.append(_one(answers, divided(spoken, seed), guard, seed, settings, dev))
            print(json.dumps({"seed": seed, **found[-1]}), flush=True)
    names = list(found[0])
    print(json.dumps({n: [round(float(f([one[n] for one in found])), 4) for f in (np.mean, np.std)] for n in names}))


def material(data_dir: Path, *, words: bool, dev: bool) -> tuple[Rows, Rows]:
    """Clips of the clients, and of the guard."""
    if words:
        split = "dev" if dev else "test"
        return meld(data_dir / "meld", split), emorynlp(data_dir / "emorynlp", split)
    return nemo(data_dir / "nemo"), ravdess(data_dir / "ravdess", RAVDESS_DEV if dev else RAVDESS_TEST)


def replay_of(data_dir: Path, *, words: bool = False) -> str:
    """Corpora from which the default fusion was learned."""
    names = ("meld", "emorynlp") if words else ("ravdess", "urdu")
    return ",".join(f"{name}={data_dir / name}" for name in names)


def _private(epsilon: float) -> dict[str, Any]:
    return {"dp": "local", "epsilon": epsilon, "delta": 1e-5}


class Answers:
    """What models say of clips; each clip is encoded once."""

    def __init__(self, runtime: EdgeRuntime) -> None:
        self._runtime = runtime
        self._tokens: dict[str, NDArray[np.float32]] = {}
        self._said: dict[str, list[float]] = {}

    def shared(self, rows: Rows) -> NDArray[np.float64]:
        """The default bundle's probabilities, shape (N, C)."""
        for sample, _, _ in self._unknown(rows, self._said):
            said = self._runtime.predict(sample).probabilities
            self._said[sample.id] = [said[label] for label in SHARED.labels]
        return np.array([self._said[sample.id] for sample, _, _ in rows])

    def of(self, model: torch.nn.Module, rows: Rows) -> NDArray[np.float64]:
        """A model's probabilities, shape (N, C)."""
        for sample, _, _ in self._unknown(rows, self._tokens):
            (self._tokens[sample.id],) = self._runtime.features(sample).values()
        scores = []
        with torch.no_grad():
            for sample, _, _ in rows:
                tokens = torch.from_numpy(self._tokens[sample.id])[None]
                there = torch.ones(tokens.shape[:2], dtype=torch.bool)
                modality = _modality(rows)
                scores.append(model({modality: tokens}, {modality: there})[0].numpy())
        return softmax(np.stack(scores))

    @staticmethod
    def _unknown(rows: Rows, known: Mapping[str, Any]) -> Iterator[Clip]:
        new = [row for row in rows if row[0].id not in known]
        with working("answering", len(new), shown=bool(new)) as done:
            for row in new:
                yield row
                done(1)


def _one(
    answers: Answers, splits: Mapping[str, Rows], guard: Rows, seed: int, settings: Mapping[str, Any], dev: bool
) -> dict[str, float]:
    with TemporaryDirectory() as out:
        result = simulate(
            dataset=Speakers({**splits, "test": splits["dev"] if dev else splits["test"]}),
            start_from="default",
            modalities=(_modality(splits["train"]),),
            seed=seed,
            clients_per_round=len({who for _, _, who in splits["train"]}),
            modality_dropout=0.0,
            out=out,
            name="circle",
            progress=False,
            **settings,
        )
        model = result.model(int(settings["rounds"]))
    groups = {"took_part": splits["dev"], "guard": guard} | ({} if dev else {"stayed_out": splits["test"]})
    found: dict[str, float] = {}
    for name, rows in groups.items():
        found |= {
            f"{name}_before": uar_of(answers.shared(rows), rows),
            f"{name}_after": uar_of(answers.of(model, rows), rows),
        }
    found["took_part_personal"] = _personal(answers, model, splits)
    return {name: round(value, 4) for name, value in sorted(found.items())}


def _modality(rows: Rows) -> str:
    return "text" if rows[0][0].audio is None else "audio"


def _personal(answers: Answers, model: torch.nn.Module, splits: Mapping[str, Rows]) -> float:
    said, rows = [], []
    for who in sorted({who for _, _, who in splits["train"]}):
        own, other = ([row for row in splits[split] if row[2] == who] for split in ("train", "dev"))
        head = learned_from(answers.of(model, own), classes_of(own)).head
        shared = answers.of(model, other)
        said.append(shared if head is None else head(shared))
        rows += other
    return uar_of(np.concatenate(said), rows)


def divided(rows: Rows, seed: int) -> dict[str, Rows]:
    draw = np.random.default_rng(seed)
    names = sorted({who for _, _, who in rows})
    out = set(draw.permutation(names)[: len(names) // 3])
    splits: dict[str, list[Clip]] = {"train": [], "dev": [], "test": []}
    for name in names:
        own = [row for row in rows if row[2] == name]
        order = draw.permutation(len(own))[:120]
        for place, at in enumerate(order):
            splits["test" if name in out else "train" if place < LABELLED else "dev"].append(own[at])
    return dict(splits)


if __name__ == "__main__":
    main()
