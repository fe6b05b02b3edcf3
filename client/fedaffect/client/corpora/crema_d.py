"""CREMA-D: 91 actors say twelve sentences in six emotions; sound and faces, with crowd votes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import rows, vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

_NAME = re.compile(r"(?P<actor>1\d{3})_(?P<sentence>[A-Z]{3})_(?P<emotion>[A-Z]{3})_(?P<level>LO|MD|HI|XX?)")
_SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
_LEVELS = {"LO": "low", "MD": "medium", "HI": "high", "XX": "unspecified", "X": "unspecified"}
# Where a level was asked for.
_INTENSITY = {"LO": 0.0, "MD": 0.5, "HI": 1.0}
# Where sounds lie; the corpus is given out as both, of which the first is not compressed.
_SOUNDS = (("AudioWAV", ".wav"), ("AudioMP3", ".mp3"))
_VOTES = {"A": "ang", "D": "dis", "F": "fea", "H": "hap", "N": "neu", "S": "sad"}


class CremaD(FolderCorpus):
    """Cao et al., CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset, IEEE TAC 5(4), 2014.

    The label is the emotion the actor meant, from the file name. What the crowd heard, saw, and both are
    the attributes ``voice_vote``, ``face_vote`` and ``multimodal_vote`` (joined by ``/`` where votes tie).
    A client is an actor; there is no official split, so all is ``train`` and folds are made over actors.
    The same twelve sentences are said in every emotion, so the text carries none. The level that the actor
    was asked for (low 0, medium 0.5, high 1) is the target intensity; most clips have none.
    """

    info = CorpusInfo(
        name="crema_d",
        title="CREMA-D (Crowd-sourced Emotional Multimodal Actors Dataset)",
        modalities=("text", "audio", "video"),
        label_set="cremad6",
        label_sets=("cremad6", "shared4", "shared7"),
        licence="Open Database License (ODbL) 1.0",
        size="7,442 clips, 91 actors, 5 h; sound 0.6 GB, video 3 GB",
        where="CheyneyComputerScience/CREMA-D on GitHub, cloned with git-lfs, which brings AudioWAV and VideoFlash",
        needs="SentenceFilenames.csv, AudioWAV/ or AudioMP3/; if there VideoFlash/, VideoDemographics.csv, "
        "processedResults/",
        counts=MappingProxyType(
            {
                "train": 7442,
                "clients": 91,
                "label:neutral": 1087,
                **dict.fromkeys((f"label:{x}" for x in ("anger", "disgust", "fear", "joy", "sadness")), 1271),
            }
        ),
        client="actor",
        faces="detect",
        citation="Cao, Cooper, Keutmann, Gur, Nenkova, Verma: CREMA-D, IEEE Trans. Affective Computing 5(4), 2014",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the list of clips, or the sounds themselves, are there."""
        sounds = (sound for place, suffix in _SOUNDS for sound in (folder / place).glob(f"1*_*_*_*{suffix}"))
        return (folder / "SentenceFilenames.csv").is_file() or any(sounds)

    def files(self) -> Iterator[Path]:
        """Tables, sounds and videos."""
        tables = ("SentenceFilenames.csv", "VideoDemographics.csv", "processedResults/summaryTable.csv")
        yield from (self.data_dir / table for table in tables if (self.data_dir / table).is_file())
        place, suffix = self._sounds()
        yield from (self.data_dir / place).glob(f"*{suffix}")
        yield from (self.data_dir / "VideoFlash").glob("*.flv")

    def __iter__(self) -> Iterator[Utterance]:
        actors, votes, (place, suffix) = self._actors(), self._votes(), self._sounds()
        for source, line, name in self._names():
            match = _NAME.fullmatch(name)
            if match is None or match["sentence"] not in _SENTENCES:
                raise DataError(
                    f"{at(source, line)}: {name!r} is not actor_sentence_emotion_level as CREMA-D names clips"
                )
            where, level = at(source, line), match["level"]
            yield Utterance(
                sample=Sample(
                    id=name,
                    text=_SENTENCES[match["sentence"]],
                    audio=self._clip(place, f"{name}{suffix}", where),
                    video=self._clip("VideoFlash", f"{name}.flv", where),
                ),
                label=vocabulary("crema_d", match["emotion"], source, line),
                split="train",
                speaker=match["actor"],
                client=match["actor"],
                targets={"intensity": _INTENSITY[level]} if level in _INTENSITY else {},
                attributes={
                    "sentence": match["sentence"],
                    "intensity": _LEVELS[level],
                    **actors.get(match["actor"], {}),
                    **votes.get(name, {}),
                },
            )

    def _names(self) -> Iterator[tuple[Path, int | None, str]]:
        table = self.data_dir / "SentenceFilenames.csv"
        if table.is_file():
            for line, row in rows(table, ("Filename",)):
                yield table, line, row["Filename"]
        else:
            place, suffix = self._sounds()
            for path in sorted((self.data_dir / place).glob(f"*{suffix}")):
                yield path, None, path.stem

    def _sounds(self) -> tuple[str, str]:
        """Folder and suffix of the sounds; the first kind where neither was downloaded."""
        return next((kind for kind in _SOUNDS if (self.data_dir / kind[0]).is_dir()), _SOUNDS[0])

    def _clip(self, folder: str, name: str, where: str) -> Path | None:
        """A clip, or None where that kind of media was not downloaded at all."""
        if not (self.data_dir / folder).is_dir():
            return None
        path = self.data_dir / folder / name
        if path.is_file():
            return path
        # A few unspecified levels are written X on one side and XX on the other.
        other = path.with_name(name.replace("_XX.", "_X.") if "_XX." in name else name.replace("_X.", "_XX."))
        if other.is_file():
            return other
        raise DataError(f"{where} has no clip {path}; run 'git lfs pull' in the corpus's clone")

    def _actors(self) -> Mapping[str, Mapping[str, str]]:
        table = self.data_dir / "VideoDemographics.csv"
        if not table.is_file():
            return {}
        columns = ("ActorID", "Age", "Sex", "Race", "Ethnicity")
        return {
            row["ActorID"]: {
                "age": row["Age"],
                "gender": row["Sex"].lower(),
                "race": row["Race"],
                "ethnicity": row["Ethnicity"],
            }
            for _, row in rows(table, columns)
        }

    def _votes(self) -> Mapping[str, Mapping[str, str]]:
        table = self.data_dir / "processedResults" / "summaryTable.csv"
        if not table.is_file():
            return {}
        columns = {"VoiceVote": "voice_vote", "FaceVote": "face_vote", "MultiModalVote": "multimodal_vote"}
        return {
            row["FileName"]: {
                ours: "/".join(vocabulary("crema_d", _VOTES.get(x, x), table, line) for x in row[theirs].split(":"))
                for theirs, ours in columns.items()
            }
            for line, row in rows(table, ("FileName", *columns))
        }
