"""nEMO: nine actors say ninety Polish sentences in six emotions; sound and transcripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.named_clips import SOUNDS
from fedaffect.client.corpora.tables import rows, vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_COLUMNS = ("file_id", "emotion", "raw_text", "speaker_id", "gender", "age")


class Nemo(FolderCorpus):
    """Christop, nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024.

    A client is an actor; there is no official split, so all is ``train`` and folds are made over actors. The same
    sentences are said in every emotion and by all actors, so the text carries no emotion; sentences repeat over
    actors, which makes splits over sentences no splits over people. The table has blanks before ``speaker_id``.
    """

    info = CorpusInfo(
        name="nemo",
        title="nEMO (Polish emotional speech)",
        modalities=("text", "audio"),
        label_set="nemo6",
        label_sets=("nemo6", "shared4", "shared7"),
        licence="CC BY-NC-SA 4.0",
        size="4,481 clips, 9 actors, 3.1 h; 0.5 GB",
        where="amu-cai/nEMO on GitHub or on the Hugging Face hub",
        needs="data.tsv and samples/ with files named like SB0_anger_10.wav (or .flac, .opus)",
        counts=MappingProxyType(
            {
                "train": 4481,
                "clients": 9,
                "label:neutral": 809,
                "label:sadness": 769,
                "label:anger": 749,
                "label:joy": 749,
                "label:fear": 736,
                "label:surprise": 669,
            }
        ),
        client="actor",
        faces="none",
        citation="Christop: nEMO: Dataset of Emotional Speech in Polish, LREC-COLING 2024",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether table and samples are there."""
        return (folder / "data.tsv").is_file() and (folder / "samples").is_dir()

    def files(self) -> Iterator[Path]:
        """The table and the samples."""
        yield self.data_dir / "data.tsv"
        yield from self._clips().values()

    def _clips(self) -> dict[str, Path]:
        return {p.stem: p for p in sorted((self.data_dir / "samples").iterdir()) if p.suffix.lower() in SOUNDS}

    def __iter__(self) -> Iterator[Utterance]:
        table, clips = self.data_dir / "data.tsv", self._clips()
        for line, row in rows(table, _COLUMNS, delimiter="\t"):
            name = Path(row["file_id"]).stem
            if name not in clips:
                raise DataError(f"{at(table, line)} has no clip {name} in samples/; download the corpus again")
            actor = row["speaker_id"].strip()
            yield Utterance(
                sample=Sample(id=name, text=row["raw_text"], audio=clips[name]),
                label=vocabulary("nemo", row["emotion"], table, line),
                split="train",
                speaker=actor,
                client=actor,
                attributes={"gender": row["gender"], "age": row["age"], "sentence": name.rpartition("_")[2]},
            )
