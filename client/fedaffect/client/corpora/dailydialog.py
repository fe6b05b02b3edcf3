"""DailyDialog in RECCON's edition: daily conversations in seven emotions; words only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import read_json, vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Sample

_TABLES: Final = MappingProxyType(
    {"train": "dailydialog_train.json", "dev": "dailydialog_valid.json", "test": "dailydialog_test.json"}
)
_FIELDS: Final = ("turn", "speaker", "utterance", "emotion")


class DailyDialog(FolderCorpus):
    """Li et al., DailyDialog, IJCNLP 2017, as Poria et al. chose and divided it for RECCON, Cognitive Computation 2021.

    RECCON keeps dialogues in which somebody feels something, so joy is 43 % of its utterances. Fourteen of them spell
    their emotion otherwise ("happines", "sad"). Signs are parted from words by blanks, as in the corpus. Who speaks is
    known within a dialogue only, so a client is a dialogue.
    """

    info = CorpusInfo(
        name="dailydialog",
        title="DailyDialog (RECCON's dialogues)",
        modalities=("text",),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="CC BY-NC-SA 4.0",
        size="1,106 dialogues, 11,104 utterances; 5 MB",
        where="declare-lab/RECCON on GitHub, folder data/original_annotation",
        needs=", ".join(_TABLES.values()),
        counts=MappingProxyType({"train": 8206, "dev": 493, "test": 2405, "dialogues": 1106}),
        client="dialogue",
        faces="none",
        citation="Li et al.: DailyDialog, IJCNLP 2017; Poria et al.: RECCON, Cognitive Computation 13, 2021",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the training dialogues are there."""
        return (folder / _TABLES["train"]).is_file()

    def files(self) -> Iterator[Path]:
        """The three files."""
        for name in _TABLES.values():
            if not (path := self.data_dir / name).is_file():
                raise DataError(f"{path} is missing; all three files of DailyDialog must lie together")
            yield path

    def __iter__(self) -> Iterator[Utterance]:
        for split, path in zip(_TABLES, self.files(), strict=True):
            for name, turns in _dialogues(path):
                for place, turn in enumerate(turns):
                    where = f"{path}: {name}, turn {place + 1}"
                    if not isinstance(turn, dict) or (lacking := [x for x in _FIELDS if x not in turn]):
                        lacks = ", ".join(_FIELDS if not isinstance(turn, dict) else lacking)
                        raise DataError(f"{where} has no {lacks}; download the file again")
                    yield Utterance(
                        sample=Sample(id=f"{split}/{name}u{place}", text=str(turn["utterance"])),
                        label=vocabulary("dailydialog", str(turn["emotion"]), where),
                        split=split,
                        speaker=f"{name}/{turn['speaker']}",
                        client=name,
                        dialogue=f"{split}/{name}",
                        turn=place,
                    )


def _dialogues(path: Path) -> Iterator[tuple[str, list[Any]]]:
    """Name and turns of each dialogue: an object of lists that hold one list of turns."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise DataError(f"{path} holds no dialogues; this is not RECCON's file")
    for name, turns in found.items():
        if not isinstance(turns, list) or len(turns) != 1 or not isinstance(turns[0], list):
            raise DataError(f"{path}: {name} is not a list of turns; this is not RECCON's original annotation")
        yield name, turns[0]
