"""FER2013: small grey faces in seven emotions, all in one table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import rows, vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_USAGES = {"Training": "train", "PublicTest": "dev", "PrivateTest": "test"}
_SIDE = 48
# The competition's archive, and the same table as Kaggle gives it out beside the archive.
_TABLES = ("fer2013.csv", "icml_face_data.csv")


class Fer2013(FolderCorpus):
    """Goodfellow et al., Challenges in Representation Learning, ICONIP 2013.

    Kaggle's public test is the development split, its private test the test split. Nothing is known of
    who is on a picture, so every picture is a client of its own and there is no natural partition.
    A picture is passed on as the bytes of a PGM file, a twentieth of what it fills decoded to RGB.
    """

    info = CorpusInfo(
        name="fer2013",
        title="FER2013 (Facial Expression Recognition 2013)",
        modalities=("video",),
        label_set="fer7",
        label_sets=("fer7", "shared4", "shared7"),
        licence="Kaggle competition rules (research)",
        size="35,887 faces of 48 x 48 pixels, 0.3 GB",
        where="kaggle.com, competition challenges-in-representation-learning-facial-expression-recognition-challenge",
        needs="fer2013.csv or icml_face_data.csv with the columns emotion, pixels, Usage",
        counts=MappingProxyType(
            {
                "train": 28709,
                "dev": 3589,
                "test": 3589,
                "label:anger": 4953,
                "label:disgust": 547,
                "label:fear": 5121,
                "label:joy": 8989,
                "label:sadness": 6077,
                "label:surprise": 4002,
                "label:neutral": 6198,
            }
        ),
        client="image",
        faces="whole",
        citation="Goodfellow et al.: Challenges in Representation Learning: A Report on Three Contests, ICONIP 2013",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the table is there."""
        return any((folder / name).is_file() for name in _TABLES)

    def files(self) -> Iterator[Path]:
        """The table."""
        yield next(path for name in _TABLES if (path := self.data_dir / name).is_file())

    def __iter__(self) -> Iterator[Utterance]:
        (table,) = self.files()
        for line, row in rows(table, ("emotion", "pixels", "Usage")):
            usage, code = row["Usage"].strip(), row["emotion"].strip()
            if usage not in _USAGES:
                raise DataError(f"{at(table, line)}: Usage is {usage!r}; it is one of {', '.join(_USAGES)}")
            known = code.isdigit() and int(code) < len(_EMOTIONS)
            name = f"fer{line - 2:07d}"
            yield Utterance(
                sample=Sample(id=name, video=_picture(row["pixels"], table, line)),
                label=vocabulary("fer2013", _EMOTIONS[int(code)] if known else code, table, line),
                split=_USAGES[usage],
                speaker="unknown",
                client=name,
            )


def _picture(pixels: str, table: Path, line: int) -> bytes:
    """A binary PGM file from 2304 numbers in 0..255 written out in decimal."""
    try:
        data = bytes(map(int, pixels.split()))
    except ValueError:
        raise DataError(f"{at(table, line)}: pixels are not numbers in 0..255; download the file again") from None
    if len(data) != _SIDE * _SIDE:
        raise DataError(
            f"{at(table, line)} has {len(data)} of {_SIDE * _SIDE} pixels; the file is cut off: download it again"
        )
    return b"P5 %d %d 255\n" % (_SIDE, _SIDE) + data
