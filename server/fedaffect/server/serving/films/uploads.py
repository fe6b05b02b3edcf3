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
from typing import IO, Final

from fedaffect.server.serving.films.limits import FilmSettings

_PART: Final = ".part"
_FACTS: Final = ".json"
_LOCK: Final = "lock"
_ID: Final = re.compile("[0-9a-f]{32}")


class UploadFile:
    """The bytes of one film.

    Parameters
    ----------
    file : binary file
        Open for reading and writing, without a buffer.
    names : tuple of Path
        What to delete with it; none where it has no name.
    """

    def __init__(self, file: IO[bytes], names: tuple[Path, ...] = ()) -> None:
        self._file = file
        self._names = names

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
        for name in self._names:
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

    def begin(self, film_id: str, caller: str, size_bytes: int, settings: FilmSettings) -> UploadFile:
        """A file for a film's bytes.

        Raises
        ------
        OSError
            If the disk has no room.
        """
        if self._folder is None or self._lock is None:
            return UploadFile(tempfile.TemporaryFile(buffering=0, prefix="fedaffect-film-"))
        part, facts = self._names(film_id)
        text = json.dumps({"caller": caller, "size_bytes": size_bytes, **asdict(settings)})
        with open(facts, "x", opener=_private) as file:
            file.write(text)
        return UploadFile(open(part, "x+b", buffering=0, opener=_private), (facts, part))

    def kept(self) -> Iterator[KeptUpload]:
        """Uploads that an earlier server had begun; what cannot be read is deleted."""
        if self._folder is None or self._lock is None:
            return
        for film_id in sorted({each.stem for each in self._folder.iterdir() if _ID.fullmatch(each.stem)}):
            part, facts = self._names(film_id)
            try:
                told = json.loads(facts.read_bytes())
                file = part.open("r+b", buffering=0)
                state = os.fstat(file.fileno())
                yield KeptUpload(
                    id=film_id,
                    caller=str(told["caller"]),
                    size_bytes=int(told["size_bytes"]),
                    # The server may have ended between writing and counting; nothing is written but in its order.
                    received_bytes=min(state.st_size, int(told["size_bytes"])),
                    settings=FilmSettings(float(told["window_s"]), float(told["hop_s"])),
                    idle_s=max(0.0, time.time() - state.st_mtime),
                    file=UploadFile(file, (facts, part)),
                )
            except (OSError, ValueError, KeyError, TypeError):
                for name in (part, facts):
                    with suppress(OSError):
                        name.unlink(missing_ok=True)

    def _names(self, film_id: str) -> tuple[Path, Path]:
        folder = self._folder or Path()
        return folder / f"{film_id}{_PART}", folder / f"{film_id}{_FACTS}"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
