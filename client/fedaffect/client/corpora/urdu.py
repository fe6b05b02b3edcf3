"""URDU: utterances from talk shows in four emotions; sound only."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told
from fedaffect.edge.errors import DataError

_EMOTIONS = {"A": "Angry", "H": "Happy", "N": "Neutral", "S": "Sad"}


class Urdu(NamedClips):
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

    places = tuple(f"{emotion}/*" for emotion in _EMOTIONS.values())
    # speaker, number of the file within the speaker, number within the emotion
    named = re.compile(r"(?P<folder>\w+)/(?P<id>(?P<speaker>S(?P<gender>[MF])\d+)_F\d+_(?P<emotion>[AHNS])\d+)")
    such_as = "SM1_F10_A010"
    together = tuple(_EMOTIONS.values())

    def told(self, match: Match[str], path: Path) -> Told:
        """Of SM1_F10_A010 in the folder Angry."""
        emotion = _EMOTIONS[match["emotion"]]
        if emotion != match["folder"]:
            raise DataError(f"{path} says {emotion} by its name; move it to that folder")
        gender = "male" if match["gender"] == "M" else "female"
        return Told(id=match["id"], emotion=emotion, speaker=match["speaker"], attributes={"gender": gender})
