"""Bytes of films while they are sent: in files without a name, or in a folder where a server finds them again."""

from __future__ import annotations

import fcntl
import json
import os
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final, NamedTuple

from fedaffect.server.serving.films.limits import FilmSettings

_PART: Final = ".part"
_FACTS: Final = ".json"
_NEW_FACTS: Final = ".json-new"
_LOCK: Final = "lock"
_ID: Final = re.compile("[0-9a-f]{32}")


class _Names(NamedTuple):
    """Files of one film: its bytes, what is known of it, and the latter while it is written anew."""

    part: Path
    facts: Path
    new_facts: Path


class UploadFile:
    """The bytes of one film.

    Parameters
    ----------
    file : binary file
        Open for reading and writing, without a buffer.
    names : tuple of Path, optional
        Of the film's files; none where they have no names.
    facts : dict
        What the next server is told of it.
    """

    def __init__(self, file: IO[bytes], names: _Names | None = None, facts: dict[str, Any] | None = None) -> None:
        self._file = file
        self._names = names
        self._facts = facts or {}

    @property
    def attempts(self) -> int:
        """Analyses that began, by any server, and of whose end nothing is known."""
        return int(self._facts.get("attempts", 0))

    def count_attempt(self, by: int = 1) -> None:
        """Remember that an analysis began, or with -1 that it ended in order, for the next server."""
        self._facts["attempts"] = self.attempts + by
        if self._names is None:
            return
        # A full disk costs the count, not the film.
        with suppress(OSError):
            _write_facts(self._names.new_facts, self._facts)
            # Who is killed on the way leaves one whole state or the other.
            self._names.new_facts.replace(self._names.facts)

    def fileno(self) -> int:
        """Its number."""
        return self._file.fileno()

    @property
    def is_open(self) -> bool:
        """Whether it can be written to."""
        return not self._file.closed

    def close(self) -> None:
        """Let go of it; one with a name stays for the next server."""
        self._file.close()

    def delete(self) -> None:
        """Delete the bytes, and what is known of them."""
        self._file.close()
        names, self._names = self._names, None
        for name in names or ():
            name.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class KeptUpload:
    """An upload that an earlier server had begun.

    Parameters
    ----------
    id, caller : str
    size_bytes : int
        Of the whole film.
    received_bytes : int
        That are here.
    settings : FilmSettings
    idle_s : float
        Since the last of them came.
    file : UploadFile
    """

    id: str
    caller: str
    size_bytes: int
    received_bytes: int
    settings: FilmSettings
    idle_s: float
    file: UploadFile


class Uploads:
    """Where bytes of films go.

    Parameters
    ----------
    folder : Path, optional
        Keeps them over a restart, readable by this user alone; without one they are gone when the server ends, however
        it ends. A folder that another server uses is left alone.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._lock: int | None = None

    def open(self) -> bool:
        """Take the folder; False where it cannot be written, or another server has it, so that nothing is kept."""
        if self._folder is None:
            return True
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            return False
        self._lock = lock
        return True

    def close(self) -> None:
        """Leave the folder to the next server."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def clear(self) -> bool:
        """Delete what earlier servers kept; False where it cannot be deleted, or another server has the folder."""
        if self._folder is None:
            return True
        try:
            if not self._folder.is_dir():
                return True
            if not self.open():
                return False
            for path in list(self._folder.iterdir()):
                if _ID.fullmatch(path.stem):
                    path.unlink(missing_ok=True)
        except OSError:
            return False
        finally:
            self.close()
        return True

    def begin(self, film_id: str, caller: str, size_bytes: int, settings: FilmSettings) -> UploadFile:
        """A file for a film's bytes.

        Raises
        ------
        OSError
            If the disk has no room.
        """
        if self._folder is None or self._lock is None:
            return UploadFile(tempfile.TemporaryFile(buffering=0, prefix="fedaffect-film-"))
        names = _names(self._folder, film_id)
        facts = {"caller": caller, "size_bytes": size_bytes, **asdict(settings)}
        _write_facts(names.facts, facts)
        return UploadFile(open(names.part, "x+b", buffering=0, opener=_private), names, facts)

    def kept(self) -> Iterator[KeptUpload]:
        """Uploads that an earlier server had begun; what cannot be read is deleted."""
        if self._folder is None or self._lock is None:
            return
        for film_id in sorted({each.stem for each in self._folder.iterdir() if _ID.fullmatch(each.stem)}):
            names = _names(self._folder, film_id)
            try:
                told = json.loads(names.facts.read_bytes())
                file = names.part.open("r+b", buffering=0)
                state = os.fstat(file.fileno())
                yield KeptUpload(
                    id=film_id,
                    caller=str(told["caller"]),
                    size_bytes=int(told["size_bytes"]),
                    # The server may have ended between writing and counting; nothing is written but in its order.
                    received_bytes=min(state.st_size, int(told["size_bytes"])),
                    settings=FilmSettings(float(told["window_s"]), float(told["hop_s"])),
                    idle_s=max(0.0, time.time() - state.st_mtime),
                    file=UploadFile(file, names, told),
                )
            except (OSError, ValueError, KeyError, TypeError):
                for name in names:
                    with suppress(OSError):
                        name.unlink(missing_ok=True)


def _names(folder: Path, film_id: str) -> _Names:
    return _Names(*(folder / f"{film_id}{ending}" for ending in (_PART, _FACTS, _NEW_FACTS)))


def _write_facts(path: Path, facts: dict[str, Any]) -> None:
    with open(path, "w", opener=_private) as file:
        json.dump(facts, file)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
