"""What lies in the cache, by kind, and what of it may go."""

from __future__ import annotations

import fcntl
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedaffect.edge.system.folders import cache_folder

KINDS: Final = ("features", "cohorts", "bundles", "int8")


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing of the cache, which goes whole or stays.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    path : Path
    size_bytes : int
        Files that two entries share count for the first of them.
    changed : float
        When anything in it was last written, in seconds since the epoch.
    in_use : bool
        Whether it must stay: a bundle that this device runs, a cohort of a run, or features that are being written.
    """

    kind: str
    path: Path
    size_bytes: int
    changed: float
    in_use: bool


def entries(folder: Path, bundles_in_use: Sequence[Path]) -> list[Entry]:
    """Everything in a cache, kind by kind and by name.

    Parameters
    ----------
    folder : Path
        The cache.
    bundles_in_use : sequence of Path
        Folders of bundles that must stay.
    """
    kept = {path.resolve() for path in bundles_in_use}
    seen: set[tuple[int, int]] = set()
    found = []
    for kind in KINDS:
        for path in sorted(_things(folder / kind)):
            size, changed = _measured(path, seen)
            found.append(Entry(kind, path, size, changed, path.resolve() in kept or _is_held(path)))
    return found


def remove(entry: Entry) -> bool:
    """Delete an entry; of a link, not what it leads to. False where something uses it by now."""
    path = _lock_of(entry.path)
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _is_folder(entry.path):
            shutil.rmtree(entry.path)
        else:
            entry.path.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
    return True


@contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Hold an entry against `remove` as long as a ``with`` lasts; a folder outside the cache is left as it is."""
    with ExitStack() as stack:
        if path.absolute().parents[1].resolve() == cache_folder().resolve():
            # Of a cache that nobody may write, nobody may delete.
            with suppress(OSError):
                lock = stack.enter_context(_lock_of(path).open("a"))
                fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name.removesuffix('.part')}.lock")


def _things(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir() if folder.is_dir() else ():
        if not path.is_symlink() and _is_folder(path / "versions"):
            # Bundles that were installed: one version beside another.
            yield from (path / "versions").iterdir()
        elif path.suffix != ".lock":
            yield path


def _measured(path: Path, seen: set[tuple[int, int]]) -> tuple[int, float]:
    size, changed = 0, path.lstat().st_mtime
    for file in path.rglob("*") if _is_folder(path) else (path,):
        status = file.lstat()
        changed = max(changed, status.st_mtime)
        if not _is_folder(file) and (status.st_dev, status.st_ino) not in seen:
            seen.add((status.st_dev, status.st_ino))
            size += status.st_size
    return size, changed


def _is_folder(path: Path) -> bool:
    """Whether it is a folder itself, and no link to one, which may lie anywhere."""
    return path.is_dir() and not path.is_symlink()


def _is_held(path: Path) -> bool:
    lock = _lock_of(path)
    if not lock.is_file():
        return False
    with lock.open("r+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
