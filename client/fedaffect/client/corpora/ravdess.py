"""RAVDESS: 24 actors say two sentences in eight emotions; sound, and faces where the videos lie beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Sample

# modality-vocal channel-emotion-intensity-statement-repetition-actor; channel 01 is speech, 02 song
_NAME = re.compile(r"(0[123])-01-(\d\d)-(0[12])-(0[12])-(0[12])-(\d\d)")
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
_INTENSITIES = {"01": "normal", "02": "strong"}
_FULL, _VIDEO_ONLY, _AUDIO_ONLY = "01", "02", "03"
_SUFFIXES = (".wav", ".flac", ".mp4")


class Ravdess(FolderCorpus):
    """Livingstone and Russo, The Ryerson Audio-Visual Database of Emotional Speech and Song, PLoS ONE 13(5), 2018.

    The speech half. A client is an actor; there is no official split, so all is ``train`` and folds are
    made over actors. Sound comes from the audio-only files (``03-01-…``) or else the full ones
    (``01-01-…``), faces from the full ones or else the video-only ones (``02-01-…``). Only two sentences
    are said, so the text carries no emotion.
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

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether an actor's folder holds a file with a name of seven numbers."""
        return any(_NAME.fullmatch(path.stem) for path in folder.glob("Actor_*/0?-01-*-*-*-*-*.*"))

    def files(self) -> Iterator[Path]:
        """Clips of speech."""
        for path in self.data_dir.glob("Actor_*/0?-01-*"):
            if path.suffix.lower() in _SUFFIXES:
                yield path

    def __iter__(self) -> Iterator[Utterance]:
        clips: dict[str, dict[str, Path]] = {}
        for path in sorted(self.files()):
            match = _NAME.fullmatch(path.stem)
            if match is None:
                raise DataError(f"{path} is not named by seven numbers as RAVDESS names its files; rename or remove it")
            clips.setdefault(path.stem[3:], {})[match[1]] = path
        order = sorted(clips, key=lambda name: (name.rpartition("-")[2], name))
        for name in order:
            yield self._utterance(name, clips[name])

    def _utterance(self, name: str, kinds: dict[str, Path]) -> Utterance:
        _, emotion, intensity, statement, repetition, actor = name.split("-")
        audio = kinds.get(_AUDIO_ONLY) or kinds.get(_FULL)
        video = kinds.get(_FULL) or kinds.get(_VIDEO_ONLY)
        path = next(iter(kinds.values()))
        if path.parent.name != f"Actor_{actor}":
            raise DataError(f"{path} is of actor {actor} by its name; move it to Actor_{actor}/")
        return Utterance(
            sample=Sample(id=name, text=_STATEMENTS[statement], audio=audio, video=video),
            label=vocabulary("ravdess", _EMOTIONS.get(emotion, emotion), path),
            split="train",
            speaker=f"Actor_{actor}",
            client=f"Actor_{actor}",
            attributes={
                "intensity": _INTENSITIES[intensity],
                "statement": statement,
                "repetition": repetition,
                "gender": "male" if int(actor) % 2 else "female",
            },
        )
