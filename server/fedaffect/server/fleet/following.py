"""Lines of growing log files, as they come."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_LOOK_S: Final = 0.3


def follow(paths: Mapping[str, Path], look_s: float = _LOOK_S) -> Iterator[tuple[str, str]]:
    """Whole lines that are written from now on, for ever.

    Parameters
    ----------
    paths : mapping of str to Path
        By name; one that is not there yet is read from its beginning once it is, and so is one that was begun anew.
    look_s : float
        Seconds between looks.

    Returns
    -------
    iterator of (str, str)
        The name of the file, and a line without its end.
    """
    return _lines(paths, {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}, look_s)


def _lines(paths: Mapping[str, Path], read: dict[str, int], look_s: float) -> Iterator[tuple[str, str]]:
    while True:
        for name, path in paths.items():
            if not path.exists():
                continue
            with path.open("rb") as file:
                if path.stat().st_size < read[name]:
                    read[name] = 0
                file.seek(read[name])
                whole, end, _ = file.read().rpartition(b"\n")
            read[name] += len(whole) + len(end)
            if end:
                for line in whole.decode(errors="replace").split("\n"):
                    yield name, line
        time.sleep(look_s)
