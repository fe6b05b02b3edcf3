"""A user's own labelled clips, without any Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.edge.labelled_clips import LAYOUT, LabelledClips, looks_labelled, read_labelled_clips
from fedaffect.edge.labels import LABEL_SETS
from fedaffect.edge.sample import MODALITIES


class Folder(FolderCorpus):
    """Files in a folder for each emotion, or a table that names them.

    All of it is ``train``. A client is a speaker; where no clip says whose it is there is no natural partition.
    """

    info = CorpusInfo(
        name="folder",
        title="a folder of one's own labelled clips",
        modalities=MODALITIES,
        label_set="shared7",
        label_sets=tuple(LABEL_SETS),
        licence="as its owner says",
        size="any",
        where="yours: pictures, sounds, films and texts",
        needs=LAYOUT,
        counts=MappingProxyType({}),
        client="speaker",
        faces="detect",
        citation="none",
    )

    def __init__(self, data_dir: Path | None, *, seed: int = 0) -> None:
        if data_dir is not None and data_dir.is_file():
            # A table by itself: its folder may hold others.
            self.data_dir, self.seed = data_dir.absolute().parent, seed
        else:
            super().__init__(data_dir, seed=seed)
        self._source = data_dir or self.data_dir
        clips = self._read.clips
        present = {modality for clip in clips for modality in clip.sample.modalities}
        self.info = replace(
            type(self).info,
            modalities=tuple(modality for modality in MODALITIES if modality in present),
            client="speaker" if any(clip.speaker for clip in clips) else "image",
        )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a table with a label, or a folder named by an emotion."""
        return looks_labelled(folder)

    @cached_property
    def _read(self) -> LabelledClips:
        return read_labelled_clips(self._source)

    def files(self) -> Iterator[Path]:
        """The table and the media."""
        yield from self._read.files

    def choices(self) -> str:
        """Labels, speakers and words, which may stand in names and files whose sizes do not tell."""
        return "\n".join(f"{c.sample.id}\t{c.label}\t{c.speaker}\t{c.sample.text or ''}" for c in self._read.clips)

    def __iter__(self) -> Iterator[Utterance]:
        turns: Counter[str] = Counter()
        for clip in self._read.clips:
            speaker = clip.speaker or "unknown"
            yield Utterance(
                sample=clip.sample,
                label=clip.label,
                split="train",
                speaker=speaker,
                client=speaker,
                turn=turns[speaker],
                attributes={"time": clip.time} if clip.time else {},
            )
            turns[speaker] += 1
