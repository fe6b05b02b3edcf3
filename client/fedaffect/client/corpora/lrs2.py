"""LRS2-BBC: sentences from television, sound, faces and words, without any emotion label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

# List of clips, folder of clips, split here.
_PARTS = (
    ("pretrain", "pretrain", "train"),
    ("train", "main", "train"),
    ("val", "main", "dev"),
    ("test", "main", "test"),
)


class Lrs2(FolderCorpus):
    """Afouras et al., Deep Audio-Visual Speech Recognition, IEEE TPAMI 44(12), 2022 (LRS2-BBC).

    **Nobody labelled emotions in it.** It serves pretraining alone, self-supervised or with another model's answers as
    labels; wherever labels are learned from it is refused. The layout is that of ``mvlrs_v1/``: lists of clips beside
    ``main/`` and ``pretrain/``, each clip a film and a text that begins with ``Text:``. Who speaks is not known; a
    client is a broadcast (a folder of clips). ``pretrain`` and ``train`` are both training data and share broadcasts.
    Lines of test.txt carry a mark of noise after the name.
    """

    info = CorpusInfo(
        name="lrs2",
        title="LRS2-BBC (no emotion labels: for pretraining alone)",
        modalities=("text", "audio", "video"),
        label_set="",
        label_sets=(),
        licence="research, by signed agreement",
        size="144,482 clips, 224 h; 50 GB",
        where="www.robots.ox.ac.uk/~vgg/data/lip_reading/lrs2.html: sign the agreement of BBC R&D",
        needs="mvlrs_v1: pretrain.txt, train.txt, val.txt, test.txt, main/ and pretrain/ with films and texts",
        counts=MappingProxyType({"train": 142157, "dev": 1082, "test": 1243}),
        client="video",
        faces="detect",
        citation="Afouras, Chung, Senior, Vinyals, Zisserman: Deep Audio-Visual Speech Recognition, TPAMI 44(12), 2022",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a list and the clips are there."""
        return (folder / "val.txt").is_file() and (folder / "main").is_dir()

    def files(self) -> Iterator[Path]:
        """The lists; the clips are too many to visit for a key."""
        for name, _, _ in _PARTS:
            path = self.data_dir / f"{name}.txt"
            if not path.is_file():
                raise DataError(f"{path} is missing; all four lists of LRS2 must lie together")
            yield path

    def __iter__(self) -> Iterator[Utterance]:
        for table, (_, folder, split) in zip(self.files(), _PARTS, strict=True):
            for line, text in enumerate(table.read_text(encoding="utf-8").splitlines(), start=1):
                if not text.strip():
                    continue
                name = text.split()[0]
                film = self.data_dir / folder / f"{name}.mp4"
                if not film.is_file():
                    raise DataError(f"{at(table, line)} has no clip {film}; unpack the archives again")
                broadcast = name.partition("/")[0]
                yield Utterance(
                    sample=Sample(id=f"{folder}/{name}", text=_words(film.with_suffix(".txt")), audio=film, video=film),
                    label="",
                    split=split,
                    speaker="unknown",
                    client=broadcast,
                )


def _words(path: Path) -> str:
    """What stands behind ``Text:`` in the first line; given out in capitals."""
    try:
        with path.open(encoding="utf-8") as stream:
            mark, _, words = stream.readline().partition(":")
    except FileNotFoundError:
        raise DataError(f"{path} is missing; unpack the archives again") from None
    if mark != "Text":
        raise DataError(f"{at(path, 1)} does not begin with 'Text:'; unpack the archives again")
    return words.strip().capitalize()
