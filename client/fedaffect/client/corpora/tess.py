"""TESS: two women say 200 English words in seven emotions; sound only."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.drawn_splits import drawn_split
from fedaffect.client.corpora.named_clips import NamedClips, Told

_AGES = {"OAF": "64", "YAF": "26"}


class Tess(NamedClips):
    """Pichora-Fuller and Dupuis, Toronto emotional speech set (TESS), Scholars Portal Dataverse, 2010.

    Two layouts: all files in one folder, as the Dataverse gives them out, or in a folder for each speaker and emotion
    (``OAF_angry/``). Every file says "Say the word …", so the text carries no emotion. A client is a speaker. There
    are only two, so nobody can be held out: a fifth of the words, by their hash, is the test split, another fifth
    the development split, and **both speakers are in all splits**. Figures on it say nothing of other people, and are
    close to 1 for any system. One official file lacks a letter (``OA_bite_neutral.wav``); it is the older speaker's.
    """

    info = CorpusInfo(
        name="tess",
        title="TESS (Toronto emotional speech set)",
        modalities=("text", "audio"),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="CC BY-NC-ND 4.0",
        size="2,800 clips, 2 speakers who are in all splits, 1.6 h; 0.3 GB",
        where="doi.org/10.5683/SP2/E8H2MF (Scholars Portal Dataverse)",
        needs="files named like OAF_back_angry.wav, together or in folders like OAF_angry/",
        counts=MappingProxyType(
            {
                "all": 2800,
                "clients": 2,
                **dict.fromkeys(
                    (f"label:{x}" for x in ("anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise")), 400
                ),
            }
        ),
        client="speaker",
        faces="none",
        citation="Pichora-Fuller, Dupuis: Toronto emotional speech set, Scholars Portal Dataverse, 2010",
    )
    places = ("[OY]A*_*_*.*", "[OY]AF_*/[OY]A*_*_*.*")
    named = re.compile(
        r"(?:\w+/)?(?P<id>(?P<speaker>OAF?|YAF)_(?P<word>[a-z]+)_(?P<emotion>angry|disgust|fear|happy|neutral|ps|sad))"
    )
    such_as = "OAF_back_angry.wav"

    def told(self, match: Match[str], path: Path) -> Told:
        """Of speaker, word and emotion."""
        speaker, word = "YAF" if match["speaker"] == "YAF" else "OAF", match["word"]
        return Told(
            id=match["id"],
            emotion=match["emotion"],
            speaker=speaker,
            text=f"Say the word {word}",
            split=drawn_split(word),
            attributes={"gender": "female", "age": _AGES[speaker], "word": word},
        )
