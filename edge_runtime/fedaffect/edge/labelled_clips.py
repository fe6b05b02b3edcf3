"""Labelled clips as people have them: files in a folder for each emotion, or a table that names them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, TextIO

from fedaffect.edge.errors import ConfigError, DataError, at, nearest
from fedaffect.edge.labels import to_vocabulary
from fedaffect.edge.sample import Sample

COLUMNS: Final = ("file", "text", "label", "speaker", "time")
LAYOUT: Final = (
    "a folder for each emotion (joy/…, anger/ana/…), or one table of columns label and file or text (and speaker, time)"
)
_TABLES: Final = (".csv", ".tsv")
_PICTURES: Final = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".heic")
_SOUNDS: Final = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aac", ".wma", ".amr", ".aiff", ".aif")
_FILMS: Final = (".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".3gp", ".flv", ".mpg", ".mpeg", ".ogv")
_WORDS: Final = ".txt"
_KNOWN: Final = (*_PICTURES, *_SOUNDS, *_FILMS, _WORDS)
# An error names so many places.
_NAMED: Final = 3


@dataclass(frozen=True, slots=True)
class LabelledClip:
    """One clip, its media not opened.

    Parameters
    ----------
    sample : Sample
        Its id is the file's path within the folder, or the table's name and line.
    label : str
        Of the vocabulary.
    speaker : str
        Empty where nobody said.
    time : str
        When, ISO 8601 with a zone; empty where nobody said.
    """

    sample: Sample
    label: str
    speaker: str
    time: str


@dataclass(frozen=True, slots=True)
class LabelledClips:
    """Every clip of a folder or table.

    Parameters
    ----------
    clips : tuple of LabelledClip
        In the order of the table, or of the files' names.
    files : tuple of Path
        What was read, or is to be: the table and the media.
    left_out : tuple of str
        Names of files in class folders that are neither picture, sound, film nor text.
    """

    clips: tuple[LabelledClip, ...]
    files: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def read_labelled_clips(path: Path) -> LabelledClips:
    """Find what is labelled; all of it is looked at before the first clip is given, and no media are opened.

    Parameters
    ----------
    path : Path
        A table (CSV; commas, semicolons or tabs between its columns) with a header of `COLUMNS` (a label, and a file or
        words or both, in each row; files are beside the table or absolute), a folder that holds one such table, or a
        folder of folders named by emotions, in which files lie directly or in a folder for each speaker. A ``.txt``
        file holds the words of one clip.

    Raises
    ------
    DataError
        If it is neither; a label is none; files are missing or empty; a clip has two labels; a row has neither file
        nor words. One line names the places.
    """
    if path.is_file() and path.suffix.lower() in _TABLES:
        return _of_table(path)
    if not path.is_dir():
        raise DataError(f"{path} is neither a folder nor a table (.csv, .tsv); give {LAYOUT}")
    tables = sorted(p for p in path.iterdir() if p.suffix.lower() in _TABLES and not p.name.startswith("."))
    if len(tables) > 1:
        raise DataError(f"{path} holds {len(tables)} tables: {_some(p.name for p in tables)}; give one of them")
    return _of_table(tables[0]) if tables else _of_folders(path)


def looks_labelled(folder: Path) -> bool:
    """Whether a folder is laid out so, from a few names."""
    for path in folder.iterdir():
        if path.suffix.lower() in _TABLES and path.is_file():
            with path.open(encoding="utf-8-sig", errors="replace", newline="") as stream:
                header = {name.strip().lower() for name in next(csv.reader(stream, delimiter=_delimiter(stream)), [])}
            if "label" in header and header & {"file", "text"} and header <= {*COLUMNS}:
                return True
        elif path.is_dir() and not path.name.startswith("."):
            try:
                to_vocabulary("folder", path.name)
            except ConfigError:
                continue
            return True
    return False


def _of_table(table: Path) -> LabelledClips:
    clips: list[LabelledClip] = []
    files: list[Path] = []
    missing: list[str] = []
    for line, row in _rows(table):
        where = at(table, line)
        label = _label(row.get("label", ""), where)
        name, words = row.get("file", "").strip(), row.get("text", "").strip()
        if not (name or words):
            raise DataError(f"{where} has neither a file nor text; give one of them")
        media = None
        if name:
            media = table.parent / name
            if not _is_there(media):
                missing.append(f"{name} (line {line})")
                continue
            if media.suffix.lower() not in _KNOWN:
                raise DataError(f"{where}: {name} is no picture, sound, film or text by its name; convert or remove it")
            files.append(media)
        sample = _sample(f"{table.name}:{line}", media, words)
        clips.append(LabelledClip(sample, label, row.get("speaker", "").strip(), _time(row.get("time", ""), where)))
    if missing:
        raise DataError(f"{table} names files that are missing or empty: {_some(missing)}; nothing was read")
    if not clips:
        raise DataError(f"{table} has no rows; give {LAYOUT}")
    _refuse_contradictions(clips)
    return LabelledClips(tuple(clips), (table, *files))


def _of_folders(folder: Path) -> LabelledClips:
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(f"{folder} holds neither a table nor folders; give {LAYOUT}")
    clips, files, empty, left_out = [], [], [], []
    for one in classes:
        label = _label(one.name, str(one))
        for path in sorted(p for p in one.rglob("*") if p.is_file() and not p.name.startswith(".")):
            name = path.relative_to(folder).as_posix()
            if path.suffix.lower() not in _KNOWN:
                left_out.append(name)
            elif not _is_there(path):
                empty.append(name)
            else:
                inside = path.relative_to(one).parts[:-1]
                clips.append(LabelledClip(_sample(name, path, ""), label, inside[0] if inside else "", ""))
                files.append(path)
    if empty:
        raise DataError(f"{folder} holds empty files: {_some(empty)}; remove or replace them")
    if not clips:
        raise DataError(f"{folder} holds no picture, sound, film or text in folders of emotions; give {LAYOUT}")
    _refuse_contradictions(clips)
    return LabelledClips(tuple(clips), tuple(files), tuple(left_out))


def _rows(table: Path) -> Iterator[tuple[int, dict[str, str]]]:
    try:
        with table.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, delimiter=_delimiter(stream), strict=True)
            header = [name.strip().lower() for name in next(reader, [])]
            _check_header(table, header)
            begin = reader.line_num + 1
            for row in reader:
                line, begin = begin, reader.line_num + 1
                if not any(value.strip() for value in row):
                    continue
                if len(row) != len(header):
                    raise DataError(
                        f"{at(table, line)} has {len(row)} of {len(header)} fields; quote what holds comma, semicolon "
                        "or tab"
                    )
                yield line, dict(zip(header, row, strict=True))
    except csv.Error as error:
        raise DataError(f"{at(table, reader.line_num)} is not CSV ({error}); save it again as CSV") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{table} is not UTF-8 ({error.reason}); save it again as UTF-8") from error


def _check_header(table: Path, header: list[str]) -> None:
    if unknown := [name for name in header if name not in COLUMNS]:
        close = nearest(unknown[0], COLUMNS)
        hint = f"did you mean {close}?" if close else f"the columns are {', '.join(COLUMNS)}"
        raise DataError(f"{at(table, 1)}: unknown column {unknown[0]!r}; {hint}")
    if "label" not in header or not {"file", "text"} & {*header} or len({*header}) < len(header):
        raise DataError(
            f"{at(table, 1)} wants the columns label, and file or text, each once; it has {', '.join(header)}"
        )


def _delimiter(stream: TextIO) -> str:
    """What stands between the columns: spreadsheets write semicolons where a comma is in numbers."""
    header = stream.readline()
    stream.seek(0)

    def known(delimiter: str) -> int:
        return len({name.strip(' "\r\n').lower() for name in header.split(delimiter)} & {*COLUMNS})

    return max(",;\t", key=known)


def _label(name: str, where: str) -> str:
    try:
        return to_vocabulary("folder", name)
    except ConfigError as error:
        raise DataError(f"{where}: {error}") from None


def _sample(id: str, media: Path | None, words: str) -> Sample:
    if media is None:
        return Sample(id=id, text=words)
    kind = media.suffix.lower()
    if kind == _WORDS:
        try:
            said = media.read_text(encoding="utf-8-sig").strip()
        except UnicodeDecodeError as error:
            raise DataError(f"{media} is not UTF-8 ({error.reason}); save it again as UTF-8") from error
        return Sample(id=id, text=words or said)
    film = kind in _FILMS
    return Sample(
        id=id,
        text=words or None,
        audio=media if film or kind in _SOUNDS else None,
        video=media if film or kind in _PICTURES else None,
    )


def _time(text: str, where: str) -> str:
    if not text.strip():
        return ""
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise DataError(f"{where}: {text!r} is no time; write it as 2026-05-01T12:30:00") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).isoformat()


def _is_there(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _refuse_contradictions(clips: Iterable[LabelledClip]) -> None:
    """The same bytes under two labels; the same words may well be said in two ways."""
    by_size: dict[int, list[tuple[Path, LabelledClip]]] = {}
    for clip in clips:
        media = clip.sample.audio or clip.sample.video
        if isinstance(media, Path):
            by_size.setdefault(media.stat().st_size, []).append((media, clip))
    for alike in by_size.values():
        if len({clip.label for _, clip in alike}) < 2:
            continue
        seen: dict[bytes, LabelledClip] = {}
        for media, clip in alike:
            first = seen.setdefault(sha256(media.read_bytes()).digest(), clip)
            if first.label != clip.label:
                raise DataError(
                    f"{first.sample.id} and {clip.sample.id} are one clip, labelled {first.label} and {clip.label}; "
                    f"keep one of them"
                )


def _some(names: Iterable[str]) -> str:
    every = list(names)
    more = f" and {len(every) - _NAMED} more" if len(every) > _NAMED else ""
    return ", ".join(every[:_NAMED]) + more
