"""Counting a corpus, and holding the count against its official numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import soundfile  # type: ignore[import-untyped]

from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.base import Utterance
from fedaffect.client.corpora.stand_ins import stand_in
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import MODALITIES, ZipMember

_SOUNDS: Final = (".wav", ".flac", ".ogg")


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


class Unusable:
    """Looks at the first bytes of each clip; for use in a ``with`` statement.

    Attributes
    ----------
    reasons : dict of str to str
        Where a clip should be, and what lies there.
    silent : dict of str to str
        Sound files that have a header alone, as official corpora hold some.
    """

    def __init__(self) -> None:
        self.reasons: dict[str, str] = {}
        self.silent: dict[str, str] = {}
        self._looked: dict[str, bool] = {}
        self._archives = Archives()

    def __enter__(self) -> Unusable:
        self._archives.__enter__()
        return self

    def __exit__(self, *raised: Any) -> None:
        self._archives.__exit__(*raised)

    def usable(self, utterance: Utterance, modality: str) -> bool:
        """Whether the clip of a modality may be one; a file that several utterances share is looked at once."""
        source = getattr(utterance.sample, modality)
        if not isinstance(source, Path | ZipMember | bytes):
            return True
        place = f"{modality} of {utterance.sample.id}" if isinstance(source, bytes) else str(source)
        if place not in self._looked:
            try:
                if reason := stand_in(self._archives.resolve(source)):
                    self.reasons[place] = reason
                elif _is_sound_file(source) and not soundfile.info(source).frames:
                    self.silent[place] = "it has a header and no sound"
            except soundfile.LibsndfileError as error:
                self.reasons[place] = f"it is no sound file ({error.error_string})"
            except (OSError, DataError) as error:
                self.reasons[place] = str(error)
            self._looked[place] = place not in self.reasons and place not in self.silent
        return self._looked[place]


def _is_sound_file(source: Path | ZipMember | bytes) -> bool:
    """Films and what libsndfile does not know are left to the encoders."""
    return isinstance(source, Path) and source.suffix.lower() in _SOUNDS


def census(utterances: Iterable[Utterance], unusable: Unusable | None = None) -> Counter[str]:
    """Count utterances in one pass.

    Parameters
    ----------
    utterances : iterable of Utterance
    unusable : Unusable, optional
        Takes note of what is no clip; such a modality does not count.

    Returns
    -------
    Counter
        ``train``, ``dev``, ``test``, ``train+dev`` and ``all``; ``test:published`` and the like, where a corpus
        says which utterances its published rule keeps; ``clients``; ``dialogues``; ``label:joy`` and the
        like; ``with text``, ``with audio``, ``with video``.
    """
    counts: Counter[str] = Counter()
    clients, dialogues = set(), set()
    for utterance in utterances:
        counts[utterance.split] += 1
        counts["all"] += 1
        if utterance.label:
            counts[f"label:{utterance.label}"] += 1
        counts["train+dev"] += utterance.split != "test"
        if utterance.attributes.get("published") == "yes":
            counts[f"{utterance.split}:published"] += 1
        for modality in utterance.features or utterance.sample.modalities:
            if unusable is None or utterance.features or unusable.usable(utterance, modality):
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
