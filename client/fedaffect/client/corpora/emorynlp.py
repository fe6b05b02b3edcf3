"""EmoryNLP: Friends scenes in seven emotions of the feeling wheel; text only."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import SPLITS, CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import rows, vocabulary, whole
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_COLUMNS = ("Utterance", "Speaker", "Emotion", "Scene_ID", "Utterance_ID", "Season", "Episode")


class EmoryNlp(FolderCorpus):
    """Zahiri and Choi, Emotion Detection on TV Show Transcripts, AAAI workshop 2018.

    A scene number is unique only within its episode, and a scene is a dialogue. Lines spoken in chorus
    belong to the client of the person named first.
    """

    info = CorpusInfo(
        name="emorynlp",
        title="EmoryNLP emotion detection",
        modalities=("text",),
        label_set="emorynlp7",
        label_sets=("emorynlp7", "shared4"),
        licence="Apache-2.0",
        size="9,489 utterances, 827 scenes",
        where="emorynlp/emotion-detection on GitHub; the CSV form is in declare-lab/MELD under data/emorynlp",
        needs="emorynlp_train_final.csv, emorynlp_dev_final.csv, emorynlp_test_final.csv",
        counts=MappingProxyType(
            {
                "train": 7551,
                "dev": 954,
                "test": 984,
                "dialogues": 827,
                "label:neutral": 3095,
                "label:joy": 2099,
                "label:fear": 1184,
                "label:anger": 968,
                "label:calm": 831,
                "label:power": 717,
                "label:sadness": 595,
            }
        ),
        client="speaker",
        faces="none",
        citation="Zahiri, Choi: Emotion Detection on TV Show Transcripts with Sequence-based CNNs, AAAI-18 workshops",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the training table is there."""
        return (folder / "emorynlp_train_final.csv").is_file()

    def files(self) -> Iterator[Path]:
        """The three tables."""
        for split in SPLITS:
            yield self._table(split)

    def _table(self, split: str) -> Path:
        path = self.data_dir / f"emorynlp_{split}_final.csv"
        if not path.is_file():
            raise DataError(f"{path} is missing; all three tables of EmoryNLP must lie together")
        return path

    def __iter__(self) -> Iterator[Utterance]:
        for split in SPLITS:
            table = self._table(split)
            for line, row in rows(table, _COLUMNS):
                scene = f"s{row['Season']}e{row['Episode']}c{row['Scene_ID']}"
                turn = whole(row["Utterance_ID"], "Utterance_ID", table, line)
                speakers = _names(row["Speaker"], table, line)
                yield Utterance(
                    sample=Sample(id=f"{split}/{scene}u{turn}", text=row["Utterance"]),
                    label=vocabulary("emorynlp", row["Emotion"], table, line),
                    split=split,
                    speaker=" & ".join(speakers),
                    client=speakers[0],
                    dialogue=f"{split}/{scene}",
                    turn=turn,
                    attributes={"season": row["Season"], "episode": row["Episode"]},
                )


def _names(text: str, table: Path, line: int) -> list[str]:
    """The speakers, written in the table as a Python list of strings."""
    try:
        names = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        names = None
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{at(table, line)}: Speaker is {text!r}, not a list of names; download the file again")
    return names
