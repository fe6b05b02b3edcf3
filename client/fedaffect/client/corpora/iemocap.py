"""IEMOCAP: ten actors in five sessions of two; sound and transcripts."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError, at
from fedaffect.edge.sample import Sample

# [6.2901 - 8.2357]	Ses01F_impro01_F000	neu	[2.5000, 2.5000, 2.5000]
_JUDGED = re.compile(r"\[(?P<start>[\d.]+) - (?P<end>[\d.]+)\]\t(?P<id>\S+)\t(?P<emotion>\w+)\t\[(?P<vad>[\d., ]+)\]")
# Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.
_SPOKEN = re.compile(r"(?P<id>Ses\S+) \[[\d.]+-[\d.]+\]:\s?(?P<text>.*)")
_SPLITS = {1: "train", 2: "train", 3: "train", 4: "dev", 5: "test"}


class Iemocap(FolderCorpus):
    """Busso et al., IEMOCAP: Interactive emotional dyadic motion capture database, LREC 42, 2008.

    Its authors give no split. The usual one is taken here: session 5 is the test split, session 4 the
    development split, so no actor is in two. A client is an actor. Utterances that the judges could not
    agree on (``xxx``) are labelled ``other``, which the usual label sets leave out; their ratings are kept. The
    five classes of ``iemocap5`` keep excitement apart from joy. The recordings show both actors for a whole
    dialogue, so there is no picture of one utterance.
    """

    info = CorpusInfo(
        name="iemocap",
        title="IEMOCAP (Interactive Emotional Dyadic Motion Capture)",
        modalities=("text", "audio"),
        label_set="iemocap4",
        label_sets=("iemocap4", "iemocap5", "iemocap6", "shared4", "shared7"),
        licence="academic, by signed agreement",
        size="10,039 utterances, 10 actors, 12 h",
        where="sail.usc.edu/iemocap: sign the release form, wait for the link, unpack IEMOCAP_full_release",
        needs="Session1/ to Session5/, each with dialog/EmoEvaluation, dialog/transcriptions and sentences/wav",
        counts=MappingProxyType(
            {
                "train": 5766,
                "dev": 2103,
                "test": 2170,
                "clients": 10,
                "dialogues": 151,
                "label:anger": 1103,
                "label:joy": 595,
                "label:excitement": 1041,
                "label:neutral": 1708,
                "label:sadness": 1084,
                "label:frustration": 1849,
                "label:fear": 40,
                "label:surprise": 107,
                "label:disgust": 2,
                "label:other": 2510,
            }
        ),
        client="actor",
        faces="none",
        citation="Busso et al.: IEMOCAP, Language Resources and Evaluation 42(4), 2008",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether any session has its judgements."""
        return any(folder.glob("Session[1-5]/dialog/EmoEvaluation"))

    def _sessions(self) -> Iterator[tuple[int, Path]]:
        for number in _SPLITS:
            folder = self.data_dir / f"Session{number}"
            if not (folder / "dialog" / "EmoEvaluation").is_dir():
                raise DataError(f"{folder} has no dialog/EmoEvaluation; unpack all five sessions of the release")
            yield number, folder

    def _judgements(self, session: Path) -> list[Path]:
        # The release carries macOS's "._" companions of many files.
        found = (session / "dialog" / "EmoEvaluation").glob("Ses*.txt")
        return sorted(path for path in found if not path.name.startswith("."))

    def files(self) -> Iterator[Path]:
        """Judgements, transcripts and sentences."""
        for _, session in self._sessions():
            yield from self._judgements(session)
            yield from (session / "dialog" / "transcriptions").glob("Ses*.txt")
            yield from (session / "sentences" / "wav").glob("Ses*/Ses*.wav")

    def __iter__(self) -> Iterator[Utterance]:
        for number, session in self._sessions():
            for judgements in self._judgements(session):
                yield from self._dialogue(number, session, judgements)

    def _dialogue(self, number: int, session: Path, judgements: Path) -> Iterator[Utterance]:
        dialogue = judgements.stem
        words = _transcript(session / "dialog" / "transcriptions" / judgements.name)
        with_sound = (session / "sentences" / "wav").is_dir()
        for turn, (line, judged) in enumerate(_judged(judgements)):
            name = judged["id"]
            if name not in words:
                raise DataError(f"{at(judgements, line)}: {name} is not in dialog/transcriptions/{judgements.name}")
            clip = session / "sentences" / "wav" / dialogue / f"{name}.wav"
            if with_sound and not clip.is_file():
                raise DataError(f"{at(judgements, line)} has no clip {clip}; unpack the release again")
            # Ses01F names the session and who wore the markers; the letter before the last digits, who spoke.
            actor = f"Ses{number:02d}{name.rpartition('_')[2][0]}"
            yield Utterance(
                sample=Sample(id=name, text=words[name], audio=clip if with_sound else None),
                label=vocabulary("iemocap", judged["emotion"], judgements, line),
                split=_SPLITS[number],
                speaker=actor,
                client=actor,
                dialogue=dialogue,
                turn=turn,
                targets=_rated(judged["vad"], judgements, line),
                attributes={
                    "session": str(number),
                    "gender": "female" if actor.endswith("F") else "male",
                    "style": "improvised" if "impro" in dialogue else "scripted",
                },
            )


def _rated(vad: str, path: Path, line: int) -> dict[str, float]:
    """Valence, activation and dominance, which the release gives on scales of 1 to 5 and a little beyond."""
    try:
        valence, arousal, dominance = ((float(value) - 3) / 2 for value in vad.split(","))
    except ValueError:
        raise DataError(f"{at(path, line)}: [{vad}] is not valence, activation, dominance; unpack it again") from None
    return {"valence": valence, "arousal": arousal, "dominance": dominance}


def _judged(path: Path) -> list[tuple[int, dict[str, str]]]:
    """Summary lines in the order in which they were spoken; the release does not keep it."""
    found = []
    for line, text in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not text.startswith("["):
            continue
        match = _JUDGED.fullmatch(text.rstrip())
        if match is None:
            raise DataError(f"{at(path, line)} is cut off or not a judgement: {text[:40]!r}; unpack the release again")
        found.append((line, match.groupdict()))
    return sorted(found, key=lambda each: float(each[1]["start"]))


def _transcript(path: Path) -> dict[str, str]:
    """Words by utterance."""
    if not path.is_file():
        raise DataError(f"{path} is missing; unpack the release again")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {match["id"]: match["text"].strip() for match in map(_SPOKEN.match, lines) if match is not None}
