"""EmoBank: English sentences of many genres, rated for valence, arousal and dominance; words only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import decimal, rows, vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_RATED = {"valence": "V", "arousal": "A", "dominance": "D"}
_NEITHER = 3.0


class EmoBank(FolderCorpus):
    """Buechel and Hahn, EmoBank: Studying the Impact of Annotation Perspective, EACL 2017.

    Ratings are the mean of some five people's, 1 to 5; as targets they are moved to -1 to 1. Nobody named emotions, so
    the label is **derived**: the sign of valence, neutral where it is exactly the scale's middle. Ratings lie close to
    that middle (standard deviations of 0.17, 0.13 and 0.10 on our scale), so an error of a tenth is a large one. A
    client is a document, and documents differ in size from 1 to 1,192 sentences; without ``meta.tsv`` nothing is known
    of them. The official split is over sentences: 126 of 136 documents are in several splits. 158 sentences repeat.
    """

    info = CorpusInfo(
        name="emobank",
        title="EmoBank (valence, arousal and dominance of sentences)",
        modalities=("text",),
        label_set="polarity3",
        label_sets=("polarity3", "mosi2"),
        licence="CC BY-SA 4.0",
        size="10,062 sentences, 136 documents; 1 MB",
        where="JULIELab/EmoBank on GitHub, folder corpus",
        needs="emobank.csv; beside it meta.tsv, which says whose document a sentence is of",
        counts=MappingProxyType(
            {
                "train": 8062,
                "dev": 1000,
                "test": 1000,
                "label:negative": 3705,
                "label:neutral": 2620,
                "label:positive": 3737,
            }
        ),
        client="document",
        faces="none",
        citation="Buechel, Hahn: EmoBank, EACL 2017",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the table is there."""
        return (folder / "emobank.csv").is_file()

    def files(self) -> Iterator[Path]:
        """The table, and that of documents where it is there."""
        yield from (path for path in (self.data_dir / "emobank.csv", self.data_dir / "meta.tsv") if path.is_file())

    def __iter__(self) -> Iterator[Utterance]:
        documents, table = self._documents(), self.data_dir / "emobank.csv"
        for line, row in rows(table, ("id", "split", "text", *_RATED.values())):
            name = row["id"]
            if documents and name not in documents:
                raise DataError(f"{at(table, line)}: {name} is not in meta.tsv; download both tables again")
            document, category = documents.get(name, ("unknown", ""))
            rated = {what: decimal(row[column], column, table, line) for what, column in _RATED.items()}
            yield Utterance(
                sample=Sample(id=name, text=row["text"]),
                label=vocabulary("emobank", _polarity(rated["valence"]), table, line),
                split=row["split"],
                speaker=document,
                client=document,
                targets={what: (value - _NEITHER) / 2 for what, value in rated.items()},
                attributes={"category": category},
            )

    def _documents(self) -> dict[str, tuple[str, str]]:
        """Document and genre of each sentence."""
        table = self.data_dir / "meta.tsv"
        if not table.is_file():
            return {}
        columns = ("id", "document", "category")
        return {row["id"]: (row["document"], row["category"]) for _, row in rows(table, columns, delimiter="\t")}


def _polarity(valence: float) -> str:
    return "neutral" if valence == _NEITHER else "positive" if valence > _NEITHER else "negative"
