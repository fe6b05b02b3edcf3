"""XED: lines of film subtitles in Plutchik's eight emotions, and neutral ones; English words only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import tabbed, vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Sample

_ANNOTATED: Final = "en-annotated.tsv"
_NEUTRAL: Final = "neu_en.txt"
_BLANKS_BEFORE_SIGNS: Final = re.compile(r"\s+([.,!?;:'])")


class Xed(FolderCorpus):
    """Öhman et al., XED: A Multilingual Dataset for Sentiment Analysis and Emotion Detection, COLING 2020.

    A line may have several emotions: its votes are their shares among those that are classes here, its label the
    first of the largest share. Lines of anticipation and trust alone are ``other``. Nobody says which film a line is
    of, so all belong to one client, and there is no official split: all is ``train``. The table parts signs from
    words by blanks, which are taken out.
    """

    info = CorpusInfo(
        name="xed",
        title="XED (emotions in film subtitles), English",
        modalities=("text",),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="CC BY 4.0",
        size="17,528 lines with emotions, 9,674 neutral ones; 1 MB",
        where="Helsinki-NLP/XED on GitHub, folder AnnotatedData",
        needs=f"{_ANNOTATED} and {_NEUTRAL}",
        counts=MappingProxyType({"train": 27202, "label:neutral": 9674}),
        client="document",
        faces="none",
        citation="Öhman, Pàmies, Kajava, Tiedemann: XED, COLING 2020",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether both tables are there."""
        return (folder / _ANNOTATED).is_file() and (folder / _NEUTRAL).is_file()

    def files(self) -> Iterator[Path]:
        """Both tables."""
        yield from (self.data_dir / name for name in (_ANNOTATED, _NEUTRAL))

    def __iter__(self) -> Iterator[Utterance]:
        order = label_set(self.info.label_set).labels
        annotated, neutral = self.files()
        for line, row in _lines(annotated):
            text, numbers = row[0], row[-1].split(",")
            labels = [vocabulary("xed", number, annotated, line) for number in numbers]
            counted = Counter(label for label in labels if label in order)
            total = counted.total()
            yield Utterance(
                sample=Sample(id=f"line-{line}", text=_readable(text)),
                label=counted.most_common(1)[0][0] if total else "other",
                split="train",
                speaker="unknown",
                client="unknown",
                votes=tuple(counted[each] / total for each in order) if total else None,
            )
        for line, row in _lines(neutral):
            yield Utterance(
                sample=Sample(id=f"neutral-{line}", text=_readable(" ".join(row[1:]))),
                label=vocabulary("xed", row[0], neutral, line),
                split="train",
                speaker="unknown",
                client="unknown",
                votes=tuple(float(each == "neutral") for each in order),
            )


def _lines(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line in which something stands."""
    for line, row in tabbed(table):
        if not any(row):
            continue
        if len(row) < 2:
            raise DataError(f"{at(table, line)} has {len(row)} of 2 fields; download the file again")
        yield line, row


def _readable(text: str) -> str:
    return _BLANKS_BEFORE_SIGNS.sub(r"\1", " ".join(text.split()))
