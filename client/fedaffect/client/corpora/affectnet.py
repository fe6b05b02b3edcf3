"""AffectNet: faces from the web in eight emotions, in either of the two layouts given out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.drawn_splits import part_of
from fedaffect.client.corpora.tables import decimal, rows, vocabulary, whole
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_EMOTIONS = ("neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt")
_NO_EMOTION = (8, 9, 10)  # none, uncertain, no face
_BOX = ("face_x", "face_y", "face_width", "face_height")
_COLUMNS = ("subDirectory_filePath", *_BOX, "expression", "valence", "arousal")
_UNRATED = -2.0
_TABLES = {"train": "training.csv", "test": "validation.csv"}
_SETS = {"train": "train_set", "test": "val_set"}
_TABLE_FOLDERS = (".", "Manually_Annotated_file_lists")
_IMAGE_FOLDERS = ("Manually_Annotated_Images", "Manually_Annotated/Manually_Annotated_Images", ".")
_DEV_ONE_IN = 20
_N = TypeVar("_N", int, float)


class AffectNet(FolderCorpus):
    """Mollahosseini et al., AffectNet, IEEE Trans. Affective Computing 10(1), 2019; the manually annotated part.

    The validation set is the only one with labels that the authors keep apart, and the literature reports
    it, so it is the test split here; one training picture in twenty, chosen by a hash of its name and the
    same on every machine, is the development split. Nothing is known of who is on a picture, so every
    picture is a client of its own and there is no natural partition. Valence and arousal, -1 to 1, are targets;
    -2 is the authors' mark for none. The CSV layout has whole photographs, with the face's box in attributes; the
    newer layout has cropped faces.
    """

    info = CorpusInfo(
        name="affectnet",
        title="AffectNet (manually annotated)",
        modalities=("video",),
        label_set="affectnet8",
        label_sets=("affectnet8", "shared4", "shared7"),
        licence="research, by signed agreement",
        size="291,651 faces in eight emotions; 120 GB as photographs, 4 GB cropped",
        where="mohammadmahoor.com, page AffectNet: a professor signs the agreement and gets the links",
        needs=(
            "training.csv and validation.csv with Manually_Annotated_Images/, or train_set/ and val_set/, "
            "each with images/ and annotations/*_exp.npy, *_val.npy, *_aro.npy"
        ),
        counts=MappingProxyType({"train+dev": 287651, "test": 4000}),
        client="image",
        faces="detect",
        citation="Mollahosseini, Hasani, Mahoor: AffectNet, IEEE Transactions on Affective Computing 10(1), 2019",
    )

    def __init__(self, data_dir: Path | None, *, seed: int = 0) -> None:
        super().__init__(data_dir, seed=seed)
        self._cropped = (self.data_dir / "train_set" / "annotations").is_dir()
        if self._cropped:
            self.info = replace(self.info, faces="whole", counts={"train+dev": 287651, "test": 3999})

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the tables of the one layout or the folders of the other are there."""
        tables = any((folder / place / "validation.csv").is_file() for place in _TABLE_FOLDERS)
        return tables or (folder / "train_set" / "annotations").is_dir()

    def files(self) -> Iterator[Path]:
        """Annotations; the pictures are too many to visit for a key."""
        for split in _TABLES:
            if self._cropped:
                yield from self._annotations(split)
            else:
                yield self._table(split)

    def _annotations(self, split: str) -> list[Path]:
        folder = self.data_dir / _SETS[split] / "annotations"
        if not folder.is_dir():
            raise DataError(f"{folder} is missing; AffectNet needs both train_set/ and val_set/")
        return sorted(folder.glob("*_exp.npy"))

    def _table(self, split: str) -> Path:
        for place in _TABLE_FOLDERS:
            path = self.data_dir / place / _TABLES[split]
            if path.is_file():
                return path
        raise DataError(f"{self.data_dir / _TABLES[split]} is missing; AffectNet needs both tables")

    def __iter__(self) -> Iterator[Utterance]:
        for split in _TABLES:
            yield from self._from_annotations(split) if self._cropped else self._from_table(split)

    def _from_annotations(self, split: str) -> Iterator[Utterance]:
        images = self.data_dir / _SETS[split] / "images"
        there = {path.stem: path for path in images.iterdir()} if images.is_dir() else {}
        for annotation in self._annotations(split):
            name = annotation.stem.removesuffix("_exp")
            if name not in there:
                raise DataError(f"{annotation} has no picture {images / name}.jpg; unpack the archive again")
            code = _number(annotation, int)
            if code in _NO_EMOTION:
                continue
            rated = {
                what: _number(annotation.with_name(f"{name}_{short}.npy"), float)
                for what, short in (("valence", "val"), ("arousal", "aro"))
            }
            yield self._utterance(f"{_SETS[split]}/{name}", there[name], code, split, annotation, None, rated, {})

    def _from_table(self, split: str) -> Iterator[Utterance]:
        table = self._table(split)
        images = next((self.data_dir / f for f in _IMAGE_FOLDERS if (self.data_dir / f).is_dir()), self.data_dir)
        for line, row in rows(table, _COLUMNS):
            code = whole(row["expression"], "expression", table, line)
            if code in _NO_EMOTION:
                continue
            name = row["subDirectory_filePath"]
            if not (images / name).is_file():
                raise DataError(f"{at(table, line)}: picture {images / name} is missing; unpack the archives again")
            rated = {what: decimal(row[what], what, table, line) for what in ("valence", "arousal")}
            box = {column: row[column] for column in _BOX}
            yield self._utterance(name, images / name, code, split, table, line, rated, box)

    def _utterance(
        self,
        name: str,
        picture: Path,
        code: int,
        split: str,
        source: Path,
        line: int | None,
        rated: dict[str, float],
        attributes: dict[str, str],
    ) -> Utterance:
        native = _EMOTIONS[code] if 0 <= code < len(_EMOTIONS) else str(code)
        return Utterance(
            sample=Sample(id=name, video=picture),
            label=vocabulary("affectnet", native, source, line),
            split="dev" if split == "train" and part_of(name, _DEV_ONE_IN) == 0 else split,
            speaker="unknown",
            client=name,
            targets={what: value for what, value in rated.items() if value != _UNRATED},
            attributes=attributes,
        )


def _number(path: Path, kind: Callable[[str], _N]) -> _N:
    """A number that the authors wrote as an array of one string."""
    try:
        return kind(np.load(path, allow_pickle=False).item())
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path} is not one number in a .npy file ({error}); unpack the archive again") from error
