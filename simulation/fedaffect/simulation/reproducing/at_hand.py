"""Which corpora lie in a folder, and which modalities of them: what is not at hand keeps its row, marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from fedaffect.client.corpora.base import FolderCorpus, Utterance
from fedaffect.client.corpora.generated import GeneratedCorpus
from fedaffect.client.corpora.registry import factory, names, open_corpus
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set
from fedaffect.server.federation.settings import RunSettings
from fedaffect.simulation.preparing.columns import Columns, read_columns

_OF_TRANSFORMERS: Final = "config.json"


class AtHand:
    """The corpora of a folder.

    Parameters
    ----------
    data_dir : Path, optional
        Holds a folder for each corpus, or is one corpus's own; beside them may lie pretrained weights, a folder each.
        Without it only what is drawn from a seed, and what packages carry, is at hand.

    Raises
    ------
    DataError
        If there is no such folder.
    """

    def __init__(self, data_dir: Path | None) -> None:
        if data_dir is not None and not data_dir.is_dir():
            raise DataError(f"no folder {data_dir}; give one that holds corpora, each in its official layout")
        self._root = data_dir
        self.columns = cache(self._columns)

    def folder(self, corpus: str) -> Path | None:
        """Where a corpus lies; None where it is not at hand or comes from a seed.

        A folder of the corpus's own name goes first, then any below that is laid out so, then the folder itself.
        """
        kind = factory(corpus)
        if self._root is None or not (isinstance(kind, type) and issubclass(kind, FolderCorpus)):
            return None
        below = sorted(path for path in self._root.iterdir() if path.is_dir())
        named = [path for path in below if path.name.lower().replace("-", "_") == corpus]
        return next((path for path in (*named, *below, self._root) if kind.recognises(path)), None)

    def place(self, corpus: str) -> Mapping[str, Any]:
        """Settings that say where a corpus lies."""
        folder = self.folder(corpus)
        return MappingProxyType({} if folder is None else {"data_dir": folder})

    def networks(self, names: Mapping[str, str]) -> dict[str, str]:
        """Settings that say where pretrained weights lie, of those that are at hand."""
        found = {setting: self._root / name for setting, name in names.items() if self._root is not None}
        return {setting: str(folder) for setting, folder in found.items() if (folder / _OF_TRANSFORMERS).is_file()}

    def missing(self, corpus: str) -> str:
        """Why a corpus cannot be read; empty where it can."""
        if corpus not in names():
            return f"this version reads no corpus {corpus}"
        kind = factory(corpus)
        drawn = isinstance(kind, type) and issubclass(kind, GeneratedCorpus)
        if not drawn and self.folder(corpus) is None:
            return f"{kind.info.title} is not at hand"
        return ""

    def utterances(self, corpus: str) -> list[Utterance]:
        """All of a corpus that is at hand; no media is opened."""
        return self.columns(corpus, factory(corpus).info.label_set).utterances

    def lacking(self, corpus: str, config_of: Mapping[str, Any], networks: Mapping[str, str]) -> str:
        """What a run on a corpus needs and is not here; empty where all is.

        Parameters
        ----------
        corpus : str
        config_of : mapping
            Settings of the run.
        networks : mapping of str to str
            Pretrained weights that it begins from.
        """
        if absent := [name for setting, name in networks.items() if setting not in self.networks(networks)]:
            return f"weights of {' and '.join(absent)} are not at hand, in --data-dir as save_pretrained leaves them"
        if missing := self.missing(corpus):
            return missing
        config = RunSettings.of({"dataset": corpus, **config_of, **self.place(corpus)})
        columns = self.columns(corpus, config.data.labels)
        absent = [modality for modality in config.data.modalities if not columns.has(modality).any()]
        if absent:
            return f"{_words(absent)} of {factory(corpus).info.title} {'is' if len(absent) == 1 else 'are'} not at hand"
        return ""

    def _columns(self, corpus: str, labels: str) -> Columns:
        return read_columns(open_corpus(corpus, self.folder(corpus)), label_set(labels))


def _words(modalities: Sequence[str]) -> str:
    return " and ".join({"audio": "sound", "video": "pictures", "text": "words"}[modality] for modality in modalities)
