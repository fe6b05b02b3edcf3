"""What every corpus is: facts about it, and utterances in a fixed order that cost nothing until looked at."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from math import isfinite
from pathlib import Path
from textwrap import shorten
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fedaffect.edge.errors import ConfigError, DataError
from fedaffect.edge.labels import VOCABULARY, label_set
from fedaffect.edge.sample import MODALITIES, Sample

SPLITS = ("train", "dev", "test")
# What people rate besides a class: the first three from -1 to 1, intensity from 0 to 1.
TARGETS: Final = ("valence", "arousal", "dominance", "intensity")
_TABLES = (".csv", ".json", ".txt")
_LINE: Final = 160
_LOOKED_AT: Final = 500
_MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One labelled sample of a corpus, and where it comes from.

    Parameters
    ----------
    sample : Sample
        What was said and shown; media are places to read from, not decoded yet.
    label : str
        A label of the vocabulary; empty where nobody has said any.
    split : str
        ``train``, ``dev`` or ``test`` as the corpus's authors say; where they say nothing, ``train``,
        and whoever runs the experiment makes folds.
    speaker : str
        Who spoke.
    client : str
        Who would hold this utterance in a federation: the speaker, actor or video.
    dialogue : str, optional
        Unique within the corpus, over all splits.
    turn : int
        Place within the dialogue.
    votes : tuple of float, optional
        Share of the annotators' votes for each label of the corpus's default label set; sums to 1.
    features : mapping of str to float32 array of shape (T, W), optional
        For corpora given out as features: modality to sequence.
    targets : mapping of str to float
        What was rated besides the class, by names of `TARGETS`: valence, arousal and dominance about -1 to 1 (0 is
        neither), intensity 0 to 1. A name that is not there was not rated.
    attributes : mapping of str to str
        What else is known: season, statement, gender.
    """

    sample: Sample
    label: str
    split: str
    speaker: str
    client: str
    dialogue: str | None = None
    turn: int = 0
    votes: tuple[float, ...] | None = None
    features: Mapping[str, NDArray[np.float32]] | None = None
    targets: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.label and self.label not in VOCABULARY:
            raise DataError(f"{self.sample.id} is labelled {self.label!r}; choose from {', '.join(VOCABULARY)}")
        if self.split not in SPLITS:
            raise DataError(f"{self.sample.id} is in split {self.split!r}; choose from {', '.join(SPLITS)}")
        if strange := [name for name, value in self.targets.items() if name not in TARGETS or not isfinite(value)]:
            raise DataError(f"{self.sample.id} has no number for {strange[0]}; targets are {', '.join(TARGETS)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CorpusInfo:
    """What is known of a corpus before any of it is on disk.

    Parameters
    ----------
    name : str
        As given to ``--dataset``.
    title : str
        As its authors call it.
    modalities : tuple of str
        What its utterances may have.
    label_set : str
        The label set used unless another is asked for; empty for a corpus without labels.
    label_sets : tuple of str
        All label sets that make sense on it; none for a corpus without labels.
    licence : str
        In the authors' words, shortened.
    size : str
        Utterances, speakers, hours.
    where : str
        Site and steps by which a user gets it.
    needs : str
        The files and folders expected under the data folder.
    counts : mapping of str to int
        Official numbers, under the keys of `fedaffect.client.corpora.census.census`.
    client : str
        What a client stands for: ``speaker``, ``actor``, ``video``, ``document`` or ``image``, the last meaning that
        nothing is known of who is on which picture, so there is no natural partition.
    faces : str
        ``detect`` where a face must be found in each frame, ``whole`` where pictures are cropped faces
        already, ``none`` where there are no pictures.
    citation : str
        Authors, title, venue, year.
    features_only : bool
        True where the corpus gives features and no media.
    fixed_splits : bool
        True where folds would put the same material on both sides.
    """

    name: str
    title: str
    modalities: tuple[str, ...]
    label_set: str
    label_sets: tuple[str, ...]
    licence: str
    size: str
    where: str
    needs: str
    counts: Mapping[str, int]
    client: str
    faces: str
    citation: str
    features_only: bool = False
    fixed_splits: bool = False

    def __post_init__(self) -> None:
        for name in self.label_sets:
            label_set(name)
        if self.label_set not in (self.label_sets or ("",)):
            raise ConfigError(f"corpus {self.name!r}: {self.label_set!r} is not among its label sets")
        if not self.modalities or {*self.modalities} - {*MODALITIES}:
            raise ConfigError(f"corpus {self.name!r}: modalities are chosen from {', '.join(MODALITIES)}")
        if self.faces not in ("detect", "whole", "none"):
            raise ConfigError(f"corpus {self.name!r}: faces is one of detect, whole, none; not {self.faces!r}")


def require_labels(info: CorpusInfo) -> None:
    """Refuse a corpus without labels where labels are needed.

    Raises
    ------
    ConfigError
        If it has none.
    """
    if not info.label_sets:
        raise ConfigError(f"{info.name} has no emotion labels: it is for pretraining alone; choose another --dataset")


# Corpora that are made up, and what people read instead of their names: what is learned from them says nothing of
# people, or not what it seems to.
CONSTRUCTED: Final[Mapping[str, str]] = MappingProxyType(
    {
        "synthetic": "synthetic data",
        "dialogues": "synthetic dialogues",
        "mosaic": "mosaic (constructed data)",
        "meld_voiced": "MELD's words with other people's voices (constructed data)",
    }
)


class Corpus(ABC):
    """Labelled utterances in a fixed order. Iterating opens no media.

    Attributes
    ----------
    info : CorpusInfo
        Set on the class, so that it can be read without data. An instance may know better, such as which
        of two layouts it found.
    """

    info: CorpusInfo

    @abstractmethod
    def __iter__(self) -> Iterator[Utterance]:
        """Utterances, the same in the same order each time."""

    def __len__(self) -> int:
        return self._length

    @cached_property
    def _length(self) -> int:
        return sum(1 for _ in self)

    @abstractmethod
    def fingerprint(self) -> str:
        """A hexadecimal SHA-256 that differs where the utterances, their media or their order may."""


class FolderCorpus(Corpus):
    """A corpus that lies in a folder in its authors' layout.

    Parameters
    ----------
    data_dir : Path, optional
        The folder.
    seed : int
        For corpora whose authors give no development split; see each.

    Raises
    ------
    DataError
        If the folder is missing or laid out otherwise.
    """

    def __init__(self, data_dir: Path | None, *, seed: int = 0) -> None:
        name = self.info.name
        if data_dir is None:
            raise self._refused(f"corpus {name} is read from a folder: give --data-dir")
        if not data_dir.is_dir():
            raise self._refused(f"no folder {data_dir} for corpus {name}")
        if not self.recognises(data_dir):
            if near := self.beside(data_dir):
                raise DataError(f"{data_dir} is not laid out as corpus {name}, and {near} is; give that one")
            raise self._refused(f"{data_dir} is not laid out as corpus {name}")
        self.data_dir = data_dir
        self.seed = seed

    @classmethod
    @abstractmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a folder looks like this corpus, from a few names."""

    @classmethod
    def beside(cls, folder: Path) -> Path | None:
        """Where this corpus lies, if one level above a folder or below it."""
        below = (path for path in islice(sorted(folder.iterdir()), _LOOKED_AT) if path.is_dir())
        return next((path for path in (*below, folder.absolute().parent) if cls.recognises(path)), None)

    @classmethod
    def _refused(cls, what: str) -> DataError:
        """What is wrong, and as much as a line holds of what the folder has to hold."""
        expected, see = "; expected ", f"; see 'fedaffect data list {cls.info.name}'"
        needs = shorten(cls.info.needs, max(0, _LINE - len(what + expected + see)), placeholder=" …")
        return DataError(f"{what}{expected}{needs}{see}" if needs.strip(" …") else f"{what}{see}")

    @abstractmethod
    def files(self) -> Iterator[Path]:
        """Every file that utterances are read from."""

    def choices(self) -> str:
        """What, besides the files, decides the utterances: rules and seeds."""
        return ""

    def fingerprint(self) -> str:
        """SHA-256 over the corpus's name, its choices, and each file's relative name and size.

        Small tables count by content too, because a label put right need not change a file's size.
        """
        digest = hashlib.sha256(f"{self.info.name}\n{self.choices()}\n".encode())
        for path in sorted({*self.files()}):
            size = path.stat().st_size
            # A table may name files elsewhere.
            inside = path.relative_to(self.data_dir) if path.is_relative_to(self.data_dir) else path
            digest.update(f"{inside.as_posix()}\t{size}\n".encode())
            if path.suffix in _TABLES and size < 16 * _MEBIBYTE:
                digest.update(path.read_bytes())
        return digest.hexdigest()
