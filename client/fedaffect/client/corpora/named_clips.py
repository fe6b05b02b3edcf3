"""Corpora that say what a clip is by the name of its file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from re import Match, Pattern
from typing import ClassVar, Final

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import vocabulary
from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Sample

SOUNDS: Final = (".wav", ".flac", ".ogg", ".opus", ".m4a")
FILMS: Final = (".mp4", ".avi", ".flv")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the name of a file says.

    Parameters
    ----------
    id : str
        Of the utterance; files of one id are its sound and its film.
    emotion : str
        The corpus's own name of the label; of no account in a corpus without labels.
    speaker : str
        Who is heard and seen.
    text : str, optional
        The words.
    split : str
        As the corpus's authors say, or ``train``.
    targets : mapping of str to float
    attributes : mapping of str to str
        See `Utterance`.
    """

    id: str
    emotion: str
    speaker: str
    text: str | None = None
    split: str = "train"
    targets: Mapping[str, float] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)


class NamedClips(FolderCorpus):
    """A corpus without tables: the name of each clip says emotion, speaker and what else is known.

    A subclass says where clips lie and how they are named, and reads one name (`told`). A client is a speaker.

    Attributes
    ----------
    places : tuple of str
        Where clips lie below the folder, as patterns for ``Path.glob``.
    named : Pattern
        Of a clip's path below the folder without its suffix, parts separated by ``/``.
    such_as : str
        One name, for error messages.
    together : tuple of str
        Folders that must all be there.
    """

    info: CorpusInfo
    places: ClassVar[tuple[str, ...]]
    named: ClassVar[Pattern[str]]
    such_as: ClassVar[str]
    together: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def told(self, match: Match[str], path: Path) -> Told:
        """What a name says.

        Raises
        ------
        DataError
            If name and folder contradict each other.
        """

    def media(self, paths: Sequence[Path]) -> tuple[Path | None, Path | None]:
        """Of one utterance's files, those that sound and film are read from: a film has sound too.

        Raises
        ------
        DataError
            If there are two of a kind.
        """
        films = [path for path in paths if path.suffix.lower() in FILMS]
        sounds = [path for path in paths if path.suffix.lower() in SOUNDS]
        if twice := [*films[1:], *sounds[1:]]:
            raise DataError(f"{twice[0]} is a second file of the same clip; keep one of them")
        return next(iter((*sounds, *films)), None), next(iter(films), None)

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether a clip with such a name is there."""
        return any(cls.named.fullmatch(_name(path, folder)) for path in _clips(folder, cls.places))

    def files(self) -> Iterator[Path]:
        """All clips."""
        for part in self.together:
            if not (self.data_dir / part).is_dir():
                raise DataError(
                    f"{self.data_dir / part} is missing; {', '.join(self.together)} of {self.info.name} lie together"
                )
        yield from _clips(self.data_dir, self.places)

    def __iter__(self) -> Iterator[Utterance]:
        known: dict[str, tuple[Told, list[Path]]] = {}
        for path in sorted({*self.files()}):
            match = self.named.fullmatch(_name(path, self.data_dir))
            if match is None:
                raise DataError(f"{path} is not named like {self.such_as} as {self.info.name} is; rename or remove it")
            told = self.told(match, path)
            known.setdefault(told.id, (told, []))[1].append(path)
        for told, paths in sorted(known.values(), key=lambda clip: (clip[1][0].parent, clip[0].id)):
            audio, video = self.media(paths)
            yield Utterance(
                sample=Sample(id=told.id, text=told.text, audio=audio, video=video),
                label=vocabulary(self.info.name, told.emotion, paths[0]) if self.info.label_sets else "",
                split=told.split,
                speaker=told.speaker,
                client=told.speaker,
                targets=told.targets,
                attributes=told.attributes,
            )


def _clips(folder: Path, places: Sequence[str]) -> Iterator[Path]:
    for place in places:
        for path in folder.glob(place):
            # macOS leaves a "._" companion of each file in archives that it packs.
            if path.suffix.lower() in (*SOUNDS, *FILMS) and not path.name.startswith("."):
                yield path


def _name(path: Path, folder: Path) -> str:
    return path.relative_to(folder).with_suffix("").as_posix()
