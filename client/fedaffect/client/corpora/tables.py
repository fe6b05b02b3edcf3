"""Reading the corpora's CSV tables so that an error names the file and line."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from fedaffect.edge.errors import ConfigError, DataError, at
from fedaffect.edge.labels import to_vocabulary


def rows(path: Path, columns: Sequence[str], delimiter: str = ",") -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV file with a header, one at a time.

    Parameters
    ----------
    path : Path
        A UTF-8 file, with or without a byte order mark.
    columns : sequence of str
        Columns that must be there; others may be.
    delimiter : str
        What separates fields.

    Yields
    ------
    tuple of (int, dict of str to str)
        The line a row starts on, counted from 1, and its fields by column.

    Raises
    ------
    DataError
        If the file is missing, lacks a column, or has a row of the wrong length.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield from rows_of(stream, path, columns, delimiter)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; download the corpus again or give another --data-dir") from None


def rows_of(
    lines: Iterable[str], path: Path | str, columns: Sequence[str], delimiter: str = ","
) -> Iterator[tuple[int, dict[str, str]]]:
    """Like `rows`, from lines already at hand; ``path`` is for messages.

    Columns may have blanks around their names; rows whose fields are all blank count as empty.
    """
    table = fields(lines, path, delimiter)
    _, header = next(table, (1, []))
    header = [name.strip() for name in header]
    missing = [c for c in columns if c not in header]
    if missing:
        raise DataError(f"{at(path, 1)} has no column {', '.join(missing)}; this is not the official file")
    for line, row in table:
        if len(row) != len(header):
            raise DataError(
                f"{at(path, line)} has {len(row)} of {len(header)} fields; the file is cut off: download it again"
            )
        yield line, dict(zip(header, row, strict=True))


def fields(lines: Iterable[str], path: Path | str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line number and fields of each row in which something stands; ``path`` is for messages."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    start = 1
    try:
        for row in reader:
            if any(not value.isspace() for value in row if value):
                yield start, row
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"{at(path, start)} is not CSV ({error}); the file is damaged or cut off: download it again"
        ) from error
    except UnicodeDecodeError as error:
        # Decoding runs ahead of the rows in blocks, so the row is near this line rather than on it.
        raise DataError(f"{at(path, start)} or soon after is not UTF-8 ({error.reason}); download it again") from error


def tabbed(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of each line of a table without a header; quotes are the text's own.

    Raises
    ------
    DataError
        If the file is missing or not UTF-8.
    """
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            yield from enumerate((each.rstrip("\r\n").split("\t") for each in stream), start=1)
    except FileNotFoundError:
        raise DataError(f"{path} is missing; download the corpus again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); download it again") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises
    ------
    DataError
        If it is cut off, or neither JSON nor UTF-8.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise DataError(f"{at(path, error.lineno)} is cut off or not JSON ({error.msg}); download it again") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 ({error.reason}); download it again") from error


def lines_of(data: bytes, path: Path | str) -> io.StringIO:
    """Text of a table that lies inside an archive; ``path`` is for messages."""
    try:
        return io.StringIO(data.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DataError(f"{at(path, line)} is not UTF-8 ({error.reason}); download it again") from error


def whole(text: str, what: str, path: Path | str, line: int) -> int:
    """A whole number.

    Raises
    ------
    DataError
        If the text is none.
    """
    try:
        return int(text)
    except ValueError:
        raise DataError(f"{at(path, line)}: {what} is {text!r}, not a whole number; download the file again") from None


def decimal(text: str, what: str, path: Path | str, line: int) -> float:
    """A number that is finite.

    Raises
    ------
    DataError
        If the text is none.
    """
    try:
        if isfinite(number := float(text)):
            return number
    except ValueError:
        pass
    raise DataError(f"{at(path, line)}: {what} is {text!r}, not a number; download the file again")


def vocabulary(corpus: str, native: str, path: Path | str, line: int | None = None) -> str:
    """A corpus's own label in the vocabulary.

    Raises
    ------
    DataError
        If the corpus does not use that label, naming the file and line.
    """
    try:
        return to_vocabulary(corpus, native)
    except ConfigError as error:
        raise DataError(f"{at(path, line)}: {error}") from None
