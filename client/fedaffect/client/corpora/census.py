"""Counting a corpus, and holding the count against its official numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fedaffect.client.corpora.base import Utterance
from fedaffect.edge.sample import MODALITIES


@dataclass(frozen=True, slots=True)
class Finding:
    """One number of a corpus.

    Parameters
    ----------
    what : str
        A key of `census`.
    found : int
        As counted.
    official : int, optional
        As its authors say, or as verified on the released files.
    """

    what: str
    found: int
    official: int | None = None

    @property
    def agrees(self) -> bool:
        """Whether the count is as expected, or nothing is expected."""
        return self.official is None or self.found == self.official


def census(utterances: Iterable[Utterance]) -> Counter[str]:
    """Count utterances in one pass.

    Returns
    -------
    Counter
        ``train``, ``dev``, ``test`` and ``train+dev``; ``test:published`` and the like, where a corpus
        says which utterances its published rule keeps; ``clients``; ``dialogues``; ``label:joy`` and the
        like; ``with text``, ``with audio``, ``with video``.
    """
    counts: Counter[str] = Counter()
    clients, dialogues = set(), set()
    for utterance in utterances:
        counts[utterance.split] += 1
        counts[f"label:{utterance.label}"] += 1
        counts["train+dev"] += utterance.split != "test"
        if utterance.attributes.get("published") == "yes":
            counts[f"{utterance.split}:published"] += 1
        for modality in utterance.features or utterance.sample.modalities:
            counts[f"with {modality}"] += 1
        clients.add(utterance.client)
        dialogues.add(utterance.dialogue)
    counts["clients"] = len(clients)
    counts["dialogues"] = len(dialogues - {None})
    return counts


def findings(counts: Mapping[str, int], official: Mapping[str, int]) -> list[Finding]:
    """Official numbers first, each beside what was found; then the rest that was found."""
    known = [Finding(what, counts.get(what, 0), number) for what, number in official.items()]
    labels = sorted(what for what in counts if what.startswith("label:"))
    more = ("train", "dev", "test", "clients", "dialogues", *(f"with {m}" for m in MODALITIES), *labels)
    return known + [Finding(what, counts[what]) for what in more if what not in official and counts.get(what)]
