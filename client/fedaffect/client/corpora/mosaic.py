"""Constructed samples of several modalities: faces, voices and words of one emotion, each of another person."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from fedaffect.client.corpora.archives import Archives
from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.ferplus import FerPlus
from fedaffect.client.corpora.meld import Meld
from fedaffect.client.corpora.ravdess import Ravdess
from fedaffect.edge.errors import DataError
from fedaffect.edge.labels import label_set

_LABELS: Final = label_set("shared7")
_PARTS: Final[Mapping[str, type[FolderCorpus]]] = MappingProxyType(
    {"ferplus": FerPlus, "ravdess": Ravdess, "meld": Meld}
)
_FIRST_DEV, _FIRST_TEST = 17, 21
_SPLITS: Final = ("test", "dev", "train")
# Raised whenever the same seed would give other utterances.
_EDITION: Final = 1


class Mosaic(FolderCorpus):
    """**Constructed**: FER+ faces, RAVDESS voices and MELD words of one emotion, put together; nobody ever was so.

    For each voice of RAVDESS, a face of FER+ and a line of MELD of the same label in ``shared7`` are drawn. A client is
    the actor who is heard; whose face it is nobody knows, and the words are of a television series. What it can show is
    what a fusion makes of three streams that tell of one label independently of each other. It says nothing of how
    people's faces, voices and words go together: there is no sarcasm in it, and nothing is aligned in time.

    Splits are independent of actors: 1 to 16 train, 17 to 20 are the development split, 21 to 24 the test split. Faces
    and lines come from the official split of the same name, so no picture and no sentence is in two splits; lines that
    MELD says in several splits, and pictures that FER+ has in several, are left to the first of test, dev and train.
    Within a split, a face or line returns once all others of its label were used (MELD's test split has 50 lines of
    fear, FER+'s few faces of disgust). Faces are those that FER+'s published rule keeps. Folds would mix the splits of
    faces and lines, so there are none. Unlike other corpora, iterating reads all pictures once.

    Parameters
    ----------
    data_dir : Path
        Holds the folders ``ferplus``, ``ravdess`` and ``meld``, each in its own official layout.
    seed : int
        Which face and line go with which voice.
    """

    info = CorpusInfo(
        name="mosaic",
        title="mosaic (constructed from FER+, RAVDESS and MELD)",
        modalities=("text", "audio", "video"),
        label_set="shared7",
        label_sets=("shared7", "shared4"),
        licence="as its three parts; research only",
        size="1,440 constructed samples, 24 actors as clients; nothing of its own on disk",
        where="built from FER+, RAVDESS and MELD: see fedaffect data list ferplus ravdess meld",
        needs="ferplus/, ravdess/ and meld/, each in its own official layout",
        counts=MappingProxyType({"train": 960, "dev": 240, "test": 240, "clients": 24}),
        client="actor",
        faces="whole",
        citation="constructed by fedaffect from FER+ (ICMI 2016), RAVDESS (PLoS ONE 2018) and MELD (ACL 2019)",
        fixed_splits=True,
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether the three parts are there."""
        return all((folder / name).is_dir() and part.recognises(folder / name) for name, part in _PARTS.items())

    def files(self) -> Iterator[Path]:
        """Files of the three parts."""
        for name, part in _PARTS.items():
            yield from part(self.data_dir / name).files()

    def choices(self) -> str:
        """The seed and the rule of construction."""
        return f"{_EDITION}\n{self.seed}"

    def __iter__(self) -> Iterator[Utterance]:
        yield from self._made

    @cached_property
    def _made(self) -> list[Utterance]:
        faces, lines = self._faces(), self._lines()
        made = []
        for (split, label), heard in _voices(self.data_dir / "ravdess").items():
            draw = _draw(self.seed, split, label)
            lacks = f"the mosaic has no {{}} of {label} for {split} in {{}}/"
            seen = _dealt(faces.get((split, label), []), len(heard), draw, lacks.format("face", "ferplus"))
            said = _dealt(lines.get((split, label), []), len(heard), draw, lacks.format("line", "meld"))
            made += [_together(*three, split, label) for three in zip(heard, seen, said, strict=True)]
        return sorted(made, key=lambda utterance: (utterance.client, utterance.sample.id))

    def _faces(self) -> dict[tuple[str, str], list[Utterance]]:
        """Pictures by split and label, none of them in two splits by its bytes."""
        corpus = FerPlus(self.data_dir / "ferplus", rule="published")
        with Archives() as archives:
            named = [(_digest(archives.resolve(u.sample.video)), u) for u in corpus]
        return _apart(named)

    def _lines(self) -> dict[tuple[str, str], list[Utterance]]:
        """Lines by split and label, none of them in two splits by its words."""
        return _apart((" ".join((u.sample.text or "").lower().split()), u) for u in Meld(self.data_dir / "meld"))


class VoicedMeld(FolderCorpus):
    """**Constructed**: MELD's lines, each with a RAVDESS voice of the same emotion; nobody ever said it so.

    A second stream where MELD's clips are not at hand. Clients, splits, dialogues and seasons are MELD's. Voices are
    drawn in a split of actors each, as in `Mosaic`, and return once all others of their label were used: 1,440 voices
    stand under 13,708 lines. A client therefore has voices of many actors.

    Parameters
    ----------
    data_dir : Path
        Holds the folders ``meld`` and ``ravdess``, each in its own official layout.
    seed : int
        Which voice goes with which line.
    """

    info = CorpusInfo(
        name="meld_voiced",
        title="MELD's words with RAVDESS's voices (constructed)",
        modalities=("text", "audio"),
        label_set="meld7",
        label_sets=Meld.info.label_sets,
        licence="as its two parts; research only",
        size="13,708 constructed samples, 304 speakers; nothing of its own on disk",
        where="built from MELD and RAVDESS: see fedaffect data list meld ravdess",
        needs="meld/ and ravdess/, each in its own official layout",
        counts=MappingProxyType({split: Meld.info.counts[split] for split in ("train", "dev", "test")}),
        client="speaker",
        faces="none",
        citation="constructed by fedaffect from MELD (ACL 2019) and RAVDESS (PLoS ONE 2018)",
        fixed_splits=True,
    )

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether both parts are there, and no faces, which would make it a mosaic."""
        parts = ("meld", "ravdess")
        return not (folder / "ferplus").is_dir() and all(_PARTS[name].recognises(folder / name) for name in parts)

    def files(self) -> Iterator[Path]:
        """Files of both parts."""
        for name in ("meld", "ravdess"):
            yield from _PARTS[name](self.data_dir / name).files()

    def choices(self) -> str:
        """The seed and the rule of construction."""
        return f"{_EDITION}\n{self.seed}"

    def __iter__(self) -> Iterator[Utterance]:
        voices, lines = _voices(self.data_dir / "ravdess"), list(Meld(self.data_dir / "meld"))
        kinds = [(line.split, _shared(line.label)) for line in lines]
        heard = {
            (split, label): iter(
                _dealt(
                    voices.get((split, label), []),
                    count,
                    _draw(self.seed, split, label),
                    f"{self.info.name} has no voice of {label} for {split} in ravdess/",
                )
            )
            for (split, label), count in Counter(kinds).items()
        }
        for line, kind in zip(lines, kinds, strict=True):
            yield _voiced(line, next(heard[kind]))


def _voices(folder: Path) -> dict[tuple[str, str], list[Utterance]]:
    """RAVDESS's by split and label."""
    found: dict[tuple[str, str], list[Utterance]] = {}
    for voice in Ravdess(folder):
        found.setdefault((_split_of(voice.client), _shared(voice.label)), []).append(voice)
    return found


def _draw(seed: int, split: str, label: str) -> np.random.Generator:
    """Numbers of their own for each split and label, so that one more file elsewhere changes nothing here."""
    return np.random.default_rng([seed, _SPLITS.index(split), _LABELS.labels.index(label)])


def _voiced(line: Utterance, voice: Utterance) -> Utterance:
    return replace(
        line,
        sample=replace(line.sample, audio=voice.sample.audio, video=None),
        attributes={**line.attributes, "constructed": "yes", "voice": f"{voice.client}/{voice.sample.id}"},
    )


def _split_of(actor: str) -> str:
    number = int(actor.rpartition("_")[2])
    return "test" if number >= _FIRST_TEST else "dev" if number >= _FIRST_DEV else "train"


def _shared(label: str) -> str:
    place = _LABELS.index(label)
    return "" if place is None else _LABELS.labels[place]


def _digest(picture: Path | bytes) -> bytes:
    return hashlib.sha256(picture.read_bytes() if isinstance(picture, Path) else picture).digest()


def _apart(named: Iterable[tuple[bytes | str, Utterance]]) -> dict[tuple[str, str], list[Utterance]]:
    """Utterances by split and label; of those with the same content, only the ones of the first split that has it."""
    known = [(content, utterance) for content, utterance in named if _shared(utterance.label)]
    first: dict[bytes | str, str] = {}
    for split in _SPLITS:
        for content, utterance in known:
            if utterance.split == split:
                first.setdefault(content, split)
    found: dict[tuple[str, str], list[Utterance]] = {}
    for content, utterance in known:
        if first[content] == utterance.split:
            found.setdefault((utterance.split, _shared(utterance.label)), []).append(utterance)
    return found


def _dealt(stock: Sequence[Utterance], count: int, draw: np.random.Generator, lacking: str) -> list[Utterance]:
    """So many of a stock in a drawn order; it begins again once all were given.

    Raises
    ------
    DataError
        If there is nothing.
    """
    if not stock:
        raise DataError(f"{lacking}; download that part again")
    order = draw.permutation(len(stock))
    return [stock[order[place % len(stock)]] for place in range(count)]


def _together(voice: Utterance, face: Utterance, line: Utterance, split: str, label: str) -> Utterance:
    return replace(
        voice,
        sample=replace(
            voice.sample, id=f"{voice.client}/{voice.sample.id}", text=line.sample.text, video=face.sample.video
        ),
        label=label,
        split=split,
        attributes={**voice.attributes, "constructed": "yes", "face": face.sample.id, "line": line.sample.id},
    )
