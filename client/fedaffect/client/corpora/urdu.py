"""URDU: utterances from talk shows in four emotions; sound only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Sample

_EMOTIONS = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}
# speaker, number of the file within the speaker, number within the emotion: SM1_F10_A010
_NAME = re.compile(r"(?P<speaker>S(?P<gender>[MF])\d+)_F\d+_(?P<emotion>[AHNS])\d+")
_SUFFIXES = (".wav", ".flac")


class Urdu(FolderCorpus):
    """Latif et al., Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages, FIT 2018.

    A client is a speaker; the paper counts 38 of them, the file names 29. There is no official split,
    so all is ``train`` and folds are made over speakers. Most speakers show one or two emotions only.
    """

    info = CorpusInfo(
        name="urdu",
        title="URDU speech emotion dataset",
        modalities=("audio",),
        label_set="urdu4",
        label_sets=("urdu4", "shared4", "shared7"),
        licence="research only",
        size="400 clips, 29 speakers, 0.3 h",
        where="siddiquelatif/URDU-Dataset on GitHub",
        needs="Angry/, Happy/, Neutral/, Sad/ with files named like SM1_F10_A010.wav (or .flac)",
        counts=MappingProxyType(
            {
                "train": 400,
                "clients": 29,
                **dict.fromkeys((f"label:{x}" for x in ("anger", "joy", "neutral", "sadness")), 100),
            }
        ),
        client="speaker",
        faces="none",
        citation="Latif, Qayyum, Usman, Qadir: Cross Lingual Speech Emotion Recognition, FIT 2018",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether an emotion's folder holds a file named by speaker."""
        return any(
            _NAME.fullmatch(path.stem) for emotion in _EMOTIONS.values() for path in (folder / emotion).glob("S*")
        )

    def files(self) -> Iterator[Path]:
        """Clips of the four folders."""
        for emotion in _EMOTIONS.values():
            if not (self.data_dir / emotion).is_dir():
                raise DataError(f"{self.data_dir / emotion} is missing; all four folders of URDU must lie together")
            yield from (p for p in (self.data_dir / emotion).iterdir() if p.suffix.lower() in _SUFFIXES)

    def __iter__(self) -> Iterator[Utterance]:
        for path in sorted(self.files()):
            match = _NAME.fullmatch(path.stem)
            if match is None:
                raise DataError(f"{path} is not named like SM1_F10_A010 as URDU names its files; rename or remove it")
            if _EMOTIONS[match["emotion"]] != path.parent.name:
                raise DataError(f"{path} says {_EMOTIONS[match['emotion']]} by its name; move it to that folder")
            yield Utterance(
                sample=Sample(id=path.stem, audio=path),
                label=vocabulary("urdu", path.parent.name, path),
                split="train",
                speaker=match["speaker"],
                client=match["speaker"],
                attributes={"gender": "male" if match["gender"] == "M" else "female"},
            )
