"""Saudi Dialect Corpus: Arabic speech from films in four emotions; sound only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from fedaffect.client.corpora.base import CorpusInfo, Utterance
from fedaffect.client.corpora.drawn_splits import drawn_split
from fedaffect.client.corpora.folder import Folder

_EMOTIONS = frozenset({"anger", "happiness", "neutral", "sadness"})


class SaudiDialect(Folder):
    """Aljuhani, Alshutayri and Alahdal, Arabic Speech Emotion Recognition From Saudi Dialect Corpus, IEEE Access 2021.

    The corpus is had from its authors and no layout of it is published, so the layout is ours: a folder for each of
    the paper's emotions, in which recordings lie directly or in a folder for each speaker. As one's own clips can be
    laid out so too, this corpus is never guessed: name it. Where no speaker is known, a fifth of the recordings, by
    the hash of their names, is the test split and another the development split; **the same people may then be in
    several splits**, there is no natural partition, and figures say little of other people. Where speakers are
    known, a client is a speaker, all is ``train``, and folds are made over them.
    """

    info = CorpusInfo(
        name="saudi",
        title="Saudi Dialect Corpus (Arabic emotional speech)",
        modalities=("audio",),
        label_set="shared4",
        label_sets=("shared4", "shared7"),
        licence="from its authors",
        size="175 recordings (113 of men, 62 of women), 0.2 h",
        where="from the authors of doi.org/10.1109/ACCESS.2021.3110992",
        needs="anger/, happiness/, neutral/, sadness/ with sounds, or a folder for each speaker in them",
        counts=MappingProxyType({"all": 175}),
        client="speaker",
        faces="none",
        citation="Aljuhani, Alshutayri, Alahdal: Arabic Speech Emotion Recognition From Saudi Dialect Corpus, 2021",
    )

    def __init__(self, data_dir: Path | None, *, seed: int = 0) -> None:
        super().__init__(data_dir, seed=seed)
        self._speakers_known = self.info.client == "speaker"

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether there is a folder for each of the paper's emotions, by the paper's names."""
        return {path.name.lower() for path in folder.iterdir() if path.is_dir()} >= _EMOTIONS

    def __iter__(self) -> Iterator[Utterance]:
        for utterance in super().__iter__():
            yield utterance if self._speakers_known else replace(utterance, split=drawn_split(utterance.sample.id))
