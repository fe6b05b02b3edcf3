"""RAVDESS: actors say and sing two sentences in eight emotions; sound, and faces where the films lie beside it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from re import Match, Pattern
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo
from fedaffect.client.corpora.named_clips import NamedClips, Told
from fedaffect.edge.errors import DataError

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}
_STATEMENTS = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
_STRONG = "02"
_FULL, _VIDEO_ONLY, _AUDIO_ONLY = "01", "02", "03"


def _named(channel: str) -> Pattern[str]:
    """Names of one vocal channel: 01 is speech, 02 song."""
    numbers = r"(?P<emotion>\d\d)-(?P<intensity>0[12])-(?P<statement>0[12])-(?P<repetition>0[12])-(?P<actor>\d\d)"
    return re.compile(rf"Actor_(?P<folder>\d\d)/0[123]-(?P<id>{channel}-{numbers})")


class Ravdess(NamedClips):
    """Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5), 2018.

    The speech half. A client is an actor; there is no official split, so all is ``train`` and folds are
    made over actors. Sound comes from the audio-only files (``03-01-…``) or else the full ones
    (``01-01-…``), faces from the full ones or else the video-only ones (``02-01-…``). Only two sentences
    are said, so the text carries no emotion. Intensity, normal (0) or strong (1), is a target; neutral was
    acted at one intensity only and has none.
    """

    info = CorpusInfo(
        name="ravdess",
        title="RAVDESS speech (Ryerson Audio-Visual Database of Emotional Speech and Song)",
        modalities=("text", "audio", "video"),
        label_set="ravdess8",
        label_sets=("ravdess8", "shared4", "shared7"),
        licence="CC BY-NC-SA 4.0",
        size="1,440 clips, 24 actors, 1.5 h; sound 0.2 GB, video 12 GB",
        where="zenodo.org/records/1188976: Audio_Speech_Actors_01-24.zip; faces: Video_Speech_Actor_01.zip to _24.zip",
        needs="Actor_01/ to Actor_24/ with files named like 03-01-05-02-01-01-12.wav (or .flac, .mp4)",
        counts=MappingProxyType(
            {
                "train": 1440,
                "clients": 24,
                "label:neutral": 96,
                **dict.fromkeys(
                    (f"label:{x}" for x in ("calm", "joy", "sadness", "anger", "fear", "disgust", "surprise")), 192
                ),
            }
        ),
        client="actor",
        faces="detect",
        citation="Livingstone, Russo: The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE, 2018",
    )

    places = ("Actor_*/0?-01-*",)
    # modality-vocal channel-emotion-intensity-statement-repetition-actor
    named = _named("01")
    such_as = "Actor_12/03-01-05-02-01-01-12"

    def told(self, match: Match[str], path: Path) -> Told:
        """Of seven numbers in an actor's folder."""
        actor, emotion = match["actor"], _EMOTIONS.get(match["emotion"], match["emotion"])
        if match["folder"] != actor:
            raise DataError(f"{path} is of actor {actor} by its name; move it to Actor_{actor}/")
        strong = match["intensity"] == _STRONG
        return Told(
            id=match["id"],
            emotion=emotion,
            speaker=f"Actor_{actor}",
            text=_STATEMENTS[match["statement"]],
            targets={} if emotion == "neutral" else {"intensity": float(strong)},
            attributes={
                "intensity": "strong" if strong else "normal",
                "statement": match["statement"],
                "repetition": match["repetition"],
                "gender": "male" if int(actor) % 2 else "female",
            },
        )

    def media(self, paths: Sequence[Path]) -> tuple[Path | None, Path | None]:
        """Sound of its own rather than that of the film; the film with sound rather than the one without."""
        kinds = {path.name[:2]: path for path in paths}
        return kinds.get(_AUDIO_ONLY) or kinds.get(_FULL), kinds.get(_FULL) or kinds.get(_VIDEO_ONLY)


class RavdessSong(Ravdess):
    """The songs of the same corpus: the two sentences sung, by all actors but the eighteenth, who has none.

    Emotions are those of speech without disgust and surprise. Where speech and songs lie in one folder, this is
    the songs alone, and is asked for by name.
    """

    info = replace(
        Ravdess.info,
        name="ravdess_song",
        title="RAVDESS song (Ryerson Audio-Visual Database of Emotional Speech and Song)",
        label_set="song6",
        label_sets=("song6", "ravdess8", "shared4", "shared7"),
        size="1,012 clips, 23 actors, 1.3 h; sound 0.2 GB, video 9 GB",
        where="zenodo.org/records/1188976: Audio_Song_Actors_01-24.zip; faces: Video_Song_Actor_01.zip to _24.zip",
        needs="Actor_01/ to Actor_24/ with files named like 03-02-05-02-01-01-12.wav (or .flac, .mp4)",
        counts=MappingProxyType(
            {
                "train": 1012,
                "clients": 23,
                "label:neutral": 92,
                **dict.fromkeys((f"label:{x}" for x in ("calm", "joy", "sadness", "anger", "fear")), 184),
            }
        ),
    )
    places = ("Actor_*/0?-02-*",)
    named = _named("02")
    such_as = "Actor_12/03-02-05-02-01-01-12"
