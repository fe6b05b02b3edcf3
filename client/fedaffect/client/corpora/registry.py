"""Corpora by name: those that come with fedaffect, and a user's own from outside the tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

from fedaffect.client.corpora.affectnet import AffectNet
from fedaffect.client.corpora.base import CONSTRUCTED, Corpus, CorpusInfo, FolderCorpus
from fedaffect.client.corpora.crema_d import CremaD
from fedaffect.client.corpora.dailydialog import DailyDialog
from fedaffect.client.corpora.dialogues import SyntheticDialogues
from fedaffect.client.corpora.emobank import EmoBank
from fedaffect.client.corpora.emorynlp import EmoryNlp
from fedaffect.client.corpora.emovo import Emovo
from fedaffect.client.corpora.enterface import Enterface
from fedaffect.client.corpora.fer2013 import Fer2013
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.client.corpora.folder import Folder
from fedaffect.client.corpora.goemotions import GoEmotions
from fedaffect.client.corpora.iemocap import Iemocap
from fedaffect.client.corpora.isear import Isear
from fedaffect.client.corpora.lrs2 import Lrs2
from fedaffect.client.corpora.meld import Meld
from fedaffect.client.corpora.mosaic import Mosaic, VoicedMeld
from fedaffect.client.corpora.mosi import Mosi
from fedaffect.client.corpora.nemo import Nemo
from fedaffect.client.corpora.ravdess import Ravdess, RavdessSong
from fedaffect.client.corpora.saudi import SaudiDialect
from fedaffect.client.corpora.savee import Savee
from fedaffect.client.corpora.shemo import Shemo
from fedaffect.client.corpora.synthetic import Synthetic
from fedaffect.client.corpora.tess import Tess
from fedaffect.client.corpora.urdu import Urdu
from fedaffect.client.corpora.voxceleb2 import VoxCeleb2
from fedaffect.client.corpora.xed import Xed
from fedaffect.client.plugins import Plugins
from fedaffect.edge.errors import ConfigError, DataError

GROUP = "fedaffect.corpora"


@runtime_checkable
class CorpusFactory(Protocol):
    """What the registry holds: facts that need no data, and a way to open the corpus."""

    @property
    def info(self) -> CorpusInfo:
        """What is known before any of it is on disk."""

    def __call__(self, data_dir: Path | None, *, seed: int = 0) -> Corpus:
        """Open the corpus."""


CORPORA: Mapping[str, CorpusFactory] = MappingProxyType(
    {
        factory.info.name: factory
        for factory in (
            Meld,
            EmoryNlp,
            Iemocap,
            Ravdess,
            RavdessSong,
            CremaD,
            Urdu,
            Shemo,
            Nemo,
            Savee,
            Tess,
            Emovo,
            Enterface,
            SaudiDialect,
            Fer2013,
            FerPlus,
            AffectNet,
            Mosi,
            Mosaic,
            VoicedMeld,
            EmoBank,
            GoEmotions,
            Xed,
            Isear,
            DailyDialog,
            VoxCeleb2,
            Lrs2,
            Folder,
            Synthetic,
            SyntheticDialogues,
        )
    }
)


def _has_info(found: Any) -> bool:
    return isinstance(getattr(found, "info", None), CorpusInfo)


def _is_factory(found: Any) -> bool:
    return callable(found) and _has_info(found)


PLUGINS: Plugins[CorpusFactory] = Plugins(
    "corpus",
    GROUP,
    CORPORA,
    _is_factory,
    "a class with an 'info' of type CorpusInfo that opens a folder",
    see="fedaffect data list",
)


def names() -> list[str]:
    """Names of all corpora, installed ones after our own."""
    return PLUGINS.names()


def factory(name: str) -> CorpusFactory:
    """The corpus of that name, not opened yet.

    A package adds its own under the entry-point group ``fedaffect.corpora``: a class with ``info`` (a
    `CorpusInfo`) that is called with a folder and a seed, most easily a `FolderCorpus`.

    Raises
    ------
    ConfigError
        If there is none of that name, listing those that exist; or if an installed one is not a corpus.
    """
    return PLUGINS.find(name)


def folder_of(name: str, data_dir: Path) -> Path:
    """Folder of a corpus under one that holds a folder of each: by its own name, or whichever looks like it.

    Raises
    ------
    DataError
        If there is none.
    """
    folder, opener = data_dir / name, factory(name)
    if folder.is_dir() or not (isinstance(opener, type) and issubclass(opener, FolderCorpus)):
        return folder
    for path in sorted(data_dir.iterdir()):
        if path.is_dir() and opener.recognises(path):
            return path
    raise DataError(f"{data_dir} holds no folder of {name}; see 'fedaffect data list {name}'")


def open_corpus(name: str, data_dir: Path | None, seed: int = 0) -> Corpus:
    """Open a corpus; nothing of its media is read.

    Parameters
    ----------
    name : str
        As given to ``--dataset``.
    data_dir : Path or None
        Its folder in the official layout; None for the synthetic ones.
    seed : int
        Of the corpus, not of a run: it draws the synthetic corpus, and the videos held out of MOSI. Runs
        that are to be compared keep it, and then share cached features.

    Raises
    ------
    ConfigError
        If there is no corpus of that name.
    DataError
        If the folder is missing or laid out otherwise.
    """
    corpus = factory(name)(data_dir, seed=seed)
    if not (isinstance(corpus, Iterable) and callable(getattr(corpus, "fingerprint", None)) and _has_info(corpus)):
        raise ConfigError(
            f"corpus {name!r} opens as a {type(corpus).__name__}, which lacks iteration, fingerprint() or info; "
            f"derive it from fedaffect.client.Corpus"
        )
    return corpus


def _is_kind_of(kind: Any, others: Sequence[Any]) -> bool:
    return any(kind is not other and issubclass(kind, other) for other in others)


def guess(folder: Path) -> str:
    """Name of the corpus that a folder holds.

    Raises
    ------
    DataError
        If it looks like none, or like several.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}; give the corpus's own folder")
    # What is put together from other corpora is asked for by name.
    opened = {name: factory(name) for name in names() if name not in CONSTRUCTED}
    fitting = [
        name
        for name, kind in opened.items()
        if isinstance(kind, type) and issubclass(kind, FolderCorpus) and kind.recognises(folder)
    ]
    # A kind of another corpus is asked for by name (songs, where speech lies beside them).
    fitting = [one for one in fitting if not _is_kind_of(opened[one], [opened[other] for other in fitting])]
    # Some official layouts are folders of emotions, too.
    fitting = [name for name in fitting if name != Folder.info.name] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        raise DataError(f"{folder} could be {' or '.join(fitting)}; say which with --dataset")
    for kind in opened.values():
        if isinstance(kind, type) and issubclass(kind, FolderCorpus) and (near := kind.beside(folder)):
            raise DataError(f"{folder} is not the folder of a corpus, and {near} is that of {kind.info.name}")
    raise DataError(f"{folder} looks like no corpus known; say which with --dataset, or see 'fedaffect data list'")
