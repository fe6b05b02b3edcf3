"""SAVEE: four men say 120 English sentences each in seven emotions; sound, and films where they lie beside it."""

from __future__ import annotations

import re
from pathlib import Path
from re import Match
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told


class Savee(NamedClips):
    """Haq and Jackson, Speaker-dependent audio-visual emotion recognition, AVSP 2009.

    Two layouts: the authors' archives (``AudioData/DC/a01.wav``, ``AudioVisualClip/DC/a1.avi``), and the flat one in
    which the sound is passed on (``ALL/DC_a01.wav``). A client is a speaker, of four, all men; there is no official
    split, so all is ``train`` and folds are made over speakers. Neutral has twice as many clips as each other emotion.
    Twelve of the fifteen sentences of an emotion are said in that emotion alone, so a transcript would give it away;
    there is none in the archives, and this corpus has no text.
    """

    info = CorpusInfo(
        name="savee",
        title="SAVEE (Surrey Audio-Visual Expressed Emotion)",
        modalities=("audio", "video"),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="research, by registration",
        size="480 clips, 4 speakers, 0.5 h; sound 0.2 GB, video 2 GB",
        where="kahlan.eps.surrey.ac.uk/savee: register, download AudioData.zip and for faces AudioVisualClip.zip",
        needs="AudioData/DC/a01.wav and so on for DC, JE, JK, KL; beside it, for faces, AudioVisualClip/DC/a1.avi",
        counts=MappingProxyType(
            {
                "train": 480,
                "clients": 4,
                "label:neutral": 120,
                **dict.fromkeys((f"label:{x}" for x in ("anger", "disgust", "fear", "joy", "sadness", "surprise")), 60),
            }
        ),
        client="speaker",
        faces="detect",
        citation="Haq, Jackson: Speaker-dependent audio-visual emotion recognition, AVSP 2009",
    )
    places = ("AudioData/*/*", "AudioVisualClip/*/*", "ALL/*")
    named = re.compile(r"\w+/(?P<speaker>DC|JE|JK|KL)[/_](?P<emotion>sa|su|[adfhn])(?P<number>\d\d?)")
    such_as = "AudioData/DC/sa01.wav"

    def told(self, match: Match[str], path: Path) -> Told:
        """Of an initial or two and a number; films are numbered without a leading zero."""
        speaker, emotion, number = match["speaker"], match["emotion"], int(match["number"])
        name = f"{speaker}_{emotion}{number:02d}"
        return Told(id=name, emotion=emotion, speaker=speaker, attributes={"gender": "male"})
