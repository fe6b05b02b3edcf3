"""A corpus that is given out as features: notes of eight people, drawn from a seed."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np

from fedaffect.client import Corpus, CorpusInfo, Utterance
from fedaffect.edge import Sample

_LABELS = ("neutral", "joy", "sadness", "anger")
_SPLITS = ("train", "train", "dev", "test")


class Notes(Corpus):
    """192 notes whose label shows in the first numbers of each token."""

    info = CorpusInfo(
        name="notes",
        title="Notes of eight people",
        modalities=("text",),
        label_set="shared4",
        label_sets=("shared4",),
        licence="constructed",
        size="192 notes, 8 people",
        where="drawn from a seed",
        needs="nothing",
        counts={},
        client="speaker",
        faces="none",
        citation="none",
        features_only=True,
    )

    def __init__(self, data_dir: Path | None = None, *, seed: int = 0) -> None:
        self.seed = seed

    def __iter__(self) -> Iterator[Utterance]:
        generator = np.random.default_rng(self.seed)
        for number in range(192):
            kind, person = number // 8 % 4, f"person {number % 8}"
            tokens = generator.normal(size=(3, 6)).astype(np.float32)  # (T, W)
            tokens[:, kind] += 3.0
            yield Utterance(
                sample=Sample(id=f"note {number}", text="…"),
                label=_LABELS[kind],
                split=_SPLITS[number // 32 % 4],
                speaker=person,
                client=person,
                features={"text": tokens},
            )

    def fingerprint(self) -> str:
        """Differs where the notes may."""
        return sha256(f"notes of seed {self.seed}".encode()).hexdigest()
