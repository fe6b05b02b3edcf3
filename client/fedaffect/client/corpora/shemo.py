"""ShEMO: Persian radio plays in six emotions; transcripts, and sound where it lies beside them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import read_json, vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Sample

# shemo.json uses adjectives where the paper uses nouns; the vocabulary is keyed by the paper's.
_NOUNS = {"angry": "anger", "fearful": "fear", "happy": "happiness", "sad": "sadness", "surprised": "surprise"}
_FIELDS = ("speaker_id", "gender", "emotion", "transcript")


class Shemo(FolderCorpus):
    """Mohamad Nezami et al., ShEMO: a large-scale validated database for Persian speech emotion detection, 2019.

    A client is a speaker; there is no official split, so all is ``train`` and folds are made over
    speakers. Label counts of the released ``shemo.json`` differ from the paper's table.
    """

    info = CorpusInfo(
        name="shemo",
        title="ShEMO (Sharif Emotional Speech Database)",
        modalities=("text", "audio"),
        label_set="shemo6",
        label_sets=("shemo6", "shared4", "shared7"),
        licence="academic use",
        size="3,000 utterances, 87 speakers, 3.4 h; sound 1 GB",
        where="pariajm/sharif-emotional-speech-dataset on GitHub: shemo.json, and links to male.zip and female.zip",
        needs="shemo.json; beside it, if you have the sound, male/ and female/ with files named like F21N37.wav",
        counts=MappingProxyType({"train": 3000, "clients": 87}),
        client="speaker",
        faces="none",
        citation="Mohamad Nezami, Jamshid Lou, Karami: ShEMO, Language Resources and Evaluation 53(1), 2019",
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the labels are there."""
        return (folder / "shemo.json").is_file()

    def files(self) -> Iterator[Path]:
        """Labels, and sounds where present."""
        yield self.data_dir / "shemo.json"
        for gender in ("female", "male"):
            yield from (self.data_dir / gender).glob("*.wav")

    def __iter__(self) -> Iterator[Utterance]:
        path = self.data_dir / "shemo.json"
        for name, entry in sorted(_entries(path).items()):
            lacking = [x for x in _FIELDS if not isinstance(entry.get(x), str)] if isinstance(entry, dict) else _FIELDS
            if lacking:
                raise DataError(f"{path}: {name} has no {', '.join(lacking)}; download the file again")
            folder = self.data_dir / entry["gender"]
            clip = folder / f"{name}.wav"
            if folder.is_dir() and not clip.is_file():
                raise DataError(f"{path}: {name} has no clip {clip}; unpack {entry['gender']}.zip again")
            yield Utterance(
                sample=Sample(id=name, text=entry["transcript"], audio=clip if folder.is_dir() else None),
                label=vocabulary("shemo", _NOUNS.get(entry["emotion"], entry["emotion"]), f"{path}: {name}"),
                split="train",
                speaker=entry["speaker_id"],
                client=entry["speaker_id"],
                attributes={"gender": entry["gender"], "ipa": str(entry.get("ipa", ""))},
            )


def _entries(path: Path) -> dict[str, Any]:
    entries = read_json(path)
    if not isinstance(entries, dict):
        raise DataError(f"{path} is not a mapping of utterances; download it again")
    return entries
