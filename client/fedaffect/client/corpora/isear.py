"""ISEAR: situations in which people of many countries felt one of seven emotions, in their words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Final

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_COLUMNS: Final = ("ID", "Field1", "MYKEY", "SIT")
# After the situation: the state, and nothing.
_AFTER: Final = 2
# What stands where nobody answered: a note in brackets, or words to that effect.
_NO_ANSWER: Final = re.compile(
    r"\[.*\]|\W*(no re?s?ponse|none|blank|not applicable|does(n't| not) apply)\W*", re.IGNORECASE
)


class Isear(FolderCorpus):
    """Scherer and Wallbott, Evidence for universality and cultural variation of differential emotion response, 1994.

    Fields are parted by ``|``, quotes are not balanced, and a line break within an answer became ``á``, some with a
    ``|`` behind it: an answer is all that stands between its column and the last two. Answers such as "[ No
    response.]" are left out. Shame and guilt have no class of their own here: their label is ``other``. A client is a
    subject. There is no official split; all is ``train``.
    """

    info = CorpusInfo(
        name="isear",
        title="ISEAR (International Survey on Emotion Antecedents and Reactions)",
        modalities=("text",),
        label_set="shared7",
        label_sets=("shared7",),
        licence="CC BY-NC-SA 3.0",
        size="7,666 situations, of which 7,451 were told, 1,095 subjects; 2 MB",
        where="the Swiss Center for Affective Sciences (unige.ch/cisa), research material",
        needs="isear.csv, with fields parted by |",
        counts=MappingProxyType({"train": 7451, "clients": 1095}),
        client="speaker",
        faces="none",
        citation="Scherer, Wallbott: Journal of Personality and Social Psychology 66(2), 1994",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the table is there."""
        return (folder / "isear.csv").is_file()

    def files(self) -> Iterator[Path]:
        """The table."""
        yield self.data_dir / "isear.csv"

    def __iter__(self) -> Iterator[Utterance]:
        table = self.data_dir / "isear.csv"
        try:
            lines = table.read_text(encoding="utf-8-sig").split("\n")
        except UnicodeDecodeError as error:
            raise DataError(f"{table} is not UTF-8 ({error.reason}); download it again") from error
        header = lines[0].rstrip("\r").split("|")
        if missing := [column for column in _COLUMNS if column not in header]:
            raise DataError(f"{at(table, 1)} has no column {', '.join(missing)}; this is not the official file")
        subject, emotion, key, situation = (header.index(column) for column in _COLUMNS)
        for line, row in enumerate((each.rstrip("\r").split("|") for each in lines[1:] if each.strip()), start=2):
            if len(row) < len(header):
                raise DataError(f"{at(table, line)} has {len(row)} of {len(header)} fields; the file is cut off")
            told = _readable(" ".join(row[situation : len(row) - _AFTER]))
            if not told or _NO_ANSWER.fullmatch(told):
                continue
            person = row[subject]
            yield Utterance(
                sample=Sample(id=f"{row[key]}-{line}", text=told),
                label=vocabulary("isear", row[emotion], table, line),
                split="train",
                speaker=person,
                client=person,
                attributes={"emotion": row[emotion]},
            )


def _readable(text: str) -> str:
    """Without marks of line breaks; of a quotation's signs only the backslash before them is left."""
    text = text.replace("á", " ").replace('\\"', '"').replace("\\", '"')
    return re.sub(r"\s+", " ", text).strip().strip('"').strip()
