"""FER+: the faces of FER2013, each judged by ten people; zips or unpacked folders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import MappingProxyType
from zipfile import BadZipFile, ZipFile

from fedaffect.client.corpora.base import CorpusInfo, FolderCorpus, Utterance
from fedaffect.client.corpora.tables import fields, lines_of, vocabulary, whole
from fedaffect.edge.errors import ConfigError, DataError, at
from fedaffect.edge.sample import Sample, ZipMember

_FOLDERS = {"train": "FER2013Train", "dev": "FER2013Valid", "test": "FER2013Test"}
# Columns of label.csv after the name and box; the last two are no emotion.
_EMOTIONS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
_COLUMNS = 2 + len(_EMOTIONS) + 2
RULES = ("argmax", "published")


class FerPlus(FolderCorpus):
    """Barsoum et al., Training Deep Networks for FER with Crowd-Sourced Label Distribution, ICMI 2016.

    The published rule drops single votes and then keeps a picture only where one emotion has more than
    half of the votes left; 3,137 test pictures remain. Argmax takes the emotion with the most votes, the
    first of the columns where they tie, and keeps a picture unless that is *unknown* or *no face*; 3,545
    test pictures remain. Every picture that the published rule keeps, argmax keeps under the same label.

    Soft votes go to the eight emotions, single votes dropped, in the order of ``ferplus8``.

    Parameters
    ----------
    data_dir : Path
        Holds the zips or folders.
    seed : int
        Not used; the official split has a development part.
    rule : str
        ``argmax`` yields all it keeps, with the attribute ``published`` saying ``yes`` or ``no``, so that
        both figures can be had in one run; ``published`` yields only those.
    """

    info = CorpusInfo(
        name="ferplus",
        title="FER+ (FER2013 with ten crowd votes a picture)",
        modalities=("video",),
        label_set="ferplus8",
        label_sets=("ferplus8", "fer7", "shared4", "shared7"),
        licence="labels MIT; pictures as FER2013",
        size="35,710 faces of 48 x 48 pixels, ten votes each, 0.1 GB",
        where=(
            "microsoft/FERPlus on GitHub for the votes, fer2013.csv from Kaggle for the pictures; "
            "its generate_training_data.py writes the three folders"
        ),
        needs="FER2013Train, FER2013Valid and FER2013Test, as .zip or unpacked, each with its pictures and label.csv",
        counts=MappingProxyType(
            {
                "train": 28385,
                "dev": 3555,
                "test": 3545,
                "train:published": 25045,
                "dev:published": 3191,
                "test:published": 3137,
            }
        ),
        client="image",
        faces="whole",
        citation="Barsoum, Zhang, Canton Ferrer, Zhang: Training Deep Networks for FER with Crowd Labels, ICMI 2016",
    )

    def __init__(self, data_dir: Path | None, *, seed: int = 0, rule: str = "argmax") -> None:
        if rule not in RULES:
            raise ConfigError(f"unknown FER+ rule {rule!r}; known: {', '.join(RULES)}")
        super().__init__(data_dir, seed=seed)
        self.rule = rule

    @classmethod
    def recognises(cls, folder: Path) -> bool:
        """Whether any of the three parts is there."""
        return any(
            (folder / f"{part}.zip").is_file() or (folder / part / "label.csv").is_file() for part in _FOLDERS.values()
        )

    def files(self) -> Iterator[Path]:
        """Zips, or votes and pictures of unpacked folders."""
        for part in _FOLDERS.values():
            if (self.data_dir / part).is_dir():
                yield from (p for p in (self.data_dir / part).iterdir() if p.is_file())
            else:
                yield self._archive(part)

    def choices(self) -> str:
        """The rule."""
        return self.rule

    def _archive(self, part: str) -> Path:
        path = self.data_dir / f"{part}.zip"
        if not path.is_file():
            raise DataError(
                f"{path} is missing, and so is the folder {part}/; all three parts of FER+ must lie together"
            )
        return path

    def __iter__(self) -> Iterator[Utterance]:
        for split, part in _FOLDERS.items():
            if (self.data_dir / part).is_dir():
                yield from self._unpacked(split, self.data_dir / part)
            else:
                yield from self._zipped(split, part, self._archive(part))

    def _unpacked(self, split: str, folder: Path) -> Iterator[Utterance]:
        table = folder / "label.csv"
        if not table.is_file():
            raise DataError(f"{table} is missing; run FERPlus's generate_training_data.py again")
        there = {path.name for path in folder.iterdir()}
        for line, row in fields(lines_of(table.read_bytes(), table), table):
            if row[0] not in there:
                raise DataError(f"{at(table, line)}: picture {folder / row[0]} is missing; make the folder again")
            yield from self._judged(split, row, folder / row[0], table, line)

    def _zipped(self, split: str, part: str, archive: Path) -> Iterator[Utterance]:
        try:
            with ZipFile(archive) as opened:
                members = set(opened.namelist())
                table = next((name for name in members if name.rpartition("/")[2] == "label.csv"), None)
                votes = b"" if table is None else opened.read(table)
        except (OSError, BadZipFile, EOFError) as error:
            raise DataError(f"{archive} cannot be read ({error}); download it again") from error
        if table is None:
            raise DataError(f"{archive} holds no label.csv; download it again")
        inside = table.removesuffix("label.csv")
        where = f"{archive}!{table}"
        for line, row in fields(lines_of(votes, where), where):
            if f"{inside}{row[0]}" not in members:
                raise DataError(f"{at(where, line)}: picture {row[0]} is not in the archive; download it again")
            yield from self._judged(split, row, ZipMember(archive, f"{inside}{row[0]}"), where, line)

    def _judged(
        self, split: str, row: Sequence[str], picture: Path | ZipMember, table: Path | str, line: int
    ) -> Iterator[Utterance]:
        """The utterance, or nothing where the rule drops the picture."""
        if len(row) != _COLUMNS:
            raise DataError(
                f"{at(table, line)} has {len(row)} of {_COLUMNS} fields; the file is cut off: download it again"
            )
        counts = [whole(x, "a vote", table, line) for x in row[2:]]
        winner = counts.index(max(counts))
        repeated = [count if count > 1 else 0 for count in counts]
        emotional = sum(repeated[: len(_EMOTIONS)])
        published = 2 * repeated[winner] > sum(repeated)
        if winner >= len(_EMOTIONS) or max(counts) < 1 or (self.rule == "published" and not published):
            return
        # Without any repeated vote the single ones are all there is to share out.
        shared = repeated if emotional else counts
        total = sum(shared[: len(_EMOTIONS)])
        name = row[0].rpartition(".")[0]
        yield Utterance(
            sample=Sample(id=name, video=picture),
            label=vocabulary("ferplus", _EMOTIONS[winner], table, line),
            split=split,
            speaker="unknown",
            client=name,
            votes=tuple(count / total for count in shared[: len(_EMOTIONS)]),
            attributes={"published": "yes" if published else "no"},
        )
