"""GoEmotions: Reddit comments in 27 emotions and neutral; words only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import SPLITS, CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import tabbed, vocabulary, whole
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.labels import label_set
from fedaffect.edge.sample import Sample

_TABLES = MappingProxyType({"train": "train.tsv", "dev": "dev.tsv", "test": "test.tsv"})
_REQUIRED = ("train", "dev")
# Names were taken out of the comments; an encoder has never seen the marks that stand for them.
_MARKS = MappingProxyType({"[NAME]": "Sam", "[RELIGION]": "religion"})


class GoEmotions(FolderCorpus):
    """Demszky et al., GoEmotions: A Dataset of Fine-Grained Emotions, ACL 2020.

    A comment may have several of 28 emotions, each of which is one of seven here, as the authors group them. Its votes
    are the shares of its emotions; its label is the largest share, the first named where shares are equal. The
    emotions as they were named stand in the attribute ``emotions``. Nobody says who wrote a comment, so all belong to
    one client. ``test.tsv`` is read where it lies beside the others.
    """

    info = CorpusInfo(
        name="goemotions",
        title="GoEmotions (Reddit comments)",
        modalities=("text",),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="Apache-2.0",
        size="54,263 comments; 4 MB",
        where="google-research/google-research on GitHub, folder goemotions/data; emotions.txt may be named labels.txt",
        needs="train.tsv, dev.tsv and labels.txt (or emotions.txt); test.tsv if you have it",
        counts=MappingProxyType({"train": 43410, "dev": 5426}),
        client="document",
        faces="none",
        citation="Demszky et al.: GoEmotions, ACL 2020",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the training comments and the names of emotions are there."""
        return (folder / "train.tsv").is_file() and _names_in(folder) is not None

    def files(self) -> Iterator[Path]:
        """The names of emotions, and the tables."""
        yield self._names_file()
        yield from (self._table(split) for split in SPLITS if split in _REQUIRED or self._table(split).is_file())

    def _table(self, split: str) -> Path:
        return self.data_dir / _TABLES[split]

    def _names_file(self) -> Path:
        found = _names_in(self.data_dir)
        if found is None:
            raise DataError(f"{self.data_dir / 'labels.txt'} is missing; download the corpus again")
        return found

    def __iter__(self) -> Iterator[Utterance]:
        emotions = self._names_file().read_text(encoding="utf-8").split()
        order = label_set(self.info.label_set).labels
        for split in SPLITS:
            table = self._table(split)
            if split not in _REQUIRED and not table.is_file():
                continue
            for line, (text, numbers, name) in _comments(table):
                given = [_emotion(number, emotions, table, line) for number in numbers.split(",")]
                labels = [vocabulary("goemotions", each, table, line) for each in given]
                counted = Counter(labels)
                yield Utterance(
                    sample=Sample(id=f"{split}/{name}", text=_readable(text)),
                    label=counted.most_common(1)[0][0],
                    split=split,
                    speaker="unknown",
                    client="unknown",
                    votes=tuple(counted[each] / len(labels) for each in order),
                    attributes={"emotions": ",".join(given)},
                )


def _names_in(folder: Path) -> Path | None:
    return next((path for n in ("labels.txt", "emotions.txt") if (path := folder / n).is_file()), None)


def _comments(table: Path) -> Iterator[tuple[int, list[str]]]:
    for line, row in tabbed(table):
        if len(row) != 3:
            raise DataError(f"{at(table, line)} has {len(row)} of 3 fields; download the file again")
        yield line, row


def _emotion(number: str, emotions: list[str], table: Path, line: int) -> str:
    place = whole(number, "emotion", table, line)
    if not 0 <= place < len(emotions):
        raise DataError(f"{at(table, line)}: emotion {place} is not one of {len(emotions)}; download the file again")
    return emotions[place]


def _readable(text: str) -> str:
    for mark, word in _MARKS.items():
        text = text.replace(mark, word)
    return text
