"""Constructed dialogues whose labels follow from who said what before: features alone, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from fedaffect.client.corpora.base import CorpusInfo, Utterance
from fedaffect.client.corpora.generated import GeneratedCorpus
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Sample

_LABELS = label_set("synthetic4").labels
_OPPOSITE = {"anger": "joy", "joy": "anger", "neutral": "sadness", "sadness": "neutral"}
_DIALOGUES = MappingProxyType({"train": 500, "dev": 60, "test": 120})
_TURNS, _SPEAKERS, _WIDTH, _TOKENS = 10, 30, 24, 2
_NOISE = 0.4
_KINDS = ("as before", "turned", "shown", "outburst")
_SHARES = (0.4, 0.25, 0.1, 0.25)


class SyntheticDialogues(GeneratedCorpus):
    """Constructed conversations of two or three people, ten turns each; they stand for no corpus of people.

    Everybody has a mood, one of four, and the label of an utterance is its speaker's mood then. Features show

    - the mood itself, when a speaker speaks for the first time, in one later utterance in ten, and in outbursts;
    - an outburst (one in four): all who have spoken before take over the mood that it shows;
    - otherwise only whether the speaker feels as before (two in five) or the opposite (one in four). Sound and pictures
      have one bit each, and it is the opposite where they differ.

    So an utterance alone gives its mood away where it shows it, and else says nothing; what was shown before helps only
    to those who remember who showed it (speaker states), whom it moved (listener states), and who read both streams
    together. Dialogues are never in two splits; the speakers are the same in all.

    Parameters
    ----------
    data_dir : None
        There is no folder.
    seed : int
        Decides everything.
    """

    edition = 1
    info = CorpusInfo(
        name="dialogues",
        title="synthetic dialogues (constructed features, not recorded)",
        modalities=("audio", "video"),
        label_set="synthetic4",
        label_sets=("synthetic4",),
        licence="Apache-2.0, as fedaffect",
        size="6,800 constructed utterances, 680 dialogues, 30 speakers; nothing on disk",
        where="built in: generated from a seed when used",
        needs="no folder",
        counts=MappingProxyType({"train": 5000, "dev": 600, "test": 1200, "clients": 30, "dialogues": 680}),
        client="speaker",
        faces="none",
        citation="fedaffect's own constructed data",
        features_only=True,
    )

    def __iter__(self) -> Iterator[Utterance]:
        number = 0
        for split, count in _DIALOGUES.items():
            for _ in range(count):
                yield from self._dialogue(number, split)
                number += 1

    def _dialogue(self, number: int, split: str) -> Iterator[Utterance]:
        rng = np.random.default_rng([self.seed, number])
        people = rng.choice(_SPEAKERS, size=rng.integers(2, 4), replace=False)
        moods: dict[int, str] = {}
        for turn in range(_TURNS):
            who = int(rng.choice(people))
            kind = str(rng.choice(_KINDS, p=_SHARES)) if who in moods else "shown"
            if kind in ("shown", "outburst"):
                moods[who] = str(rng.choice(_LABELS))
            elif kind == "turned":
                moods[who] = _OPPOSITE[moods[who]]
            if kind == "outburst":
                moods = dict.fromkeys(moods, moods[who])
            name = f"speaker_{who:02d}"
            yield Utterance(
                sample=Sample(id=f"dialogue_{number:03d}_{turn}"),
                label=moods[who],
                split=split,
                speaker=name,
                client=name,
                dialogue=str(number),
                turn=turn,
                features=self._features(kind, moods[who], rng),
                attributes={"synthetic": "yes", "kind": kind},
            )

    def _features(self, kind: str, mood: str, rng: np.random.Generator) -> dict[str, NDArray[np.float32]]:
        """What shows of an utterance: float32 of shape (2, 24) by stream."""
        if kind in ("shown", "outburst"):
            # Mood in both streams; which of both kinds, too.
            signs = [_LABELS.index(mood) + len(_LABELS) * (kind == "outburst")] * 2
        else:
            bit = int(rng.integers(2))
            signs = [2 * len(_LABELS) + bit, 2 * len(_LABELS) + (bit ^ (kind == "turned"))]
        made = {}
        for stream, sign in zip(("audio", "video"), signs, strict=True):
            noise = rng.normal(0, _NOISE, size=(_TOKENS, _WIDTH))
            made[stream] = (self._signs[stream][sign] + noise).astype(np.float32)
        return made

    @cached_property
    def _signs(self) -> dict[str, NDArray[np.float64]]:
        """What each of ten signs looks like in each stream, shape (10, 24)."""
        rng = np.random.default_rng([self.seed, _WIDTH, _SPEAKERS, _TURNS])
        return {stream: rng.normal(size=(2 * len(_LABELS) + 2, _WIDTH)) for stream in ("audio", "video")}
