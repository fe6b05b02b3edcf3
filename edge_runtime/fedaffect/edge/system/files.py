"""Files that appear whole or not at all, and files that only their owner may read: keys, tokens, settings."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedaffect.edge.errors import DataError, RunError


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room: a full disk, or a quota."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def replacing(path: Path, *, private: bool = False, durable: bool = False, first: bool = False) -> Iterator[Path]:
    """An empty file beside ``path`` to write to; it takes the place of ``path`` when the block ends without an error.

    Parameters
    ----------
    path : Path
        Its folder must be there.
    private : bool
        Give the file mode 0600; otherwise 0644 less the umask.
    durable : bool
        Have the disk confirm the content first, so that a power cut leaves the old file or the new one.
    first : bool
        Keep a file that is there already, with a FileExistsError.

    Raises
    ------
    OSError
        If the disk is full or the folder cannot be written; nothing is left behind.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if private else 0o644))
        yield part
        if durable:
            with part.open("rb") as file:
                os.fsync(file.fileno())
        if first:
            # A link refuses to replace, which a rename would do.
            path.hardlink_to(part)
        else:
            part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes, *, private: bool = False, durable: bool = False, first: bool = False) -> None:
    """Write a file in one step; arguments and errors are those of `replacing`."""
    with replacing(path, private=private, durable=durable, first=first) as part:
        descriptor = os.open(part, os.O_WRONLY)
        try:
            _write_all(descriptor, data)
        finally:
            os.close(descriptor)


def write_chosen(path: Path, data: bytes, *, private: bool = False) -> None:
    """Write a file in one step where a person said.

    Raises
    ------
    DataError
        If it cannot be written there.
    """
    try:
        write_whole(path, data, private=private)
    except OSError as error:
        raise DataError(f"{path} cannot be written ({error.strerror}); choose another path") from error


def append_whole(path: Path, data: bytes) -> None:
    """Add to the end of a file; where the disk is full, with an OSError, the file stays as it was."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        before = os.fstat(descriptor).st_size
        try:
            _write_all(descriptor, data)
        except OSError:
            os.ftruncate(descriptor, before)
            raise
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes) -> None:
    """Write every byte; the system may take fewer at once."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def private_folder(path: Path) -> Path:
    """Make a folder, with mode 0700 whatever the umask.

    Raises
    ------
    RunError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o700)
    except OSError as error:
        raise RunError(f"cannot make {path} ({error.strerror}); choose a folder of yours") from error
    return path


def private_file(path: Path) -> Path:
    """Have a file with mode 0600, empty where there was none; a folder that is made for it has mode 0700.

    For a database: what SQLite puts beside it takes over its mode. What lies there already is made private without
    being opened: a process that closes a descriptor of a file lets go of every lock that it holds on the file (POSIX),
    and with SQLite's the log in which its other connections go on writing is deleted under them.

    Raises
    ------
    OSError
        If it cannot be made, or is somebody else's.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    for beside in (path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))):
        if beside.exists():
            beside.chmod(0o600)
    return path


def make_private(folder: Path) -> None:
    """Take everybody else's access to a folder and all that is in it away.

    Raises
    ------
    OSError
        If some of it is somebody else's.
    """
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def write_private(path: Path, data: bytes, *, replace: bool = False) -> Path:
    """Write a file with mode 0600 that appears whole or not at all and survives a power cut.

    Parameters
    ----------
    path : Path
    data : bytes
    replace : bool
        Whether one that is there may be replaced.

    Raises
    ------
    RunError
        If it is there already and must not be replaced, or the disk is full.
    """
    if path.exists() and not replace:
        raise RunError(f"{path} is there already and is not written over; move it away first")
    try:
        write_whole(path, data, private=True, durable=True)
    except OSError as error:
        raise RunError(f"cannot write {path} ({error.strerror}); make room or choose another folder") from error
    return path


def read_private(path: Path) -> bytes:
    """Read a secret, refusing one that others could have read or changed.

    Raises
    ------
    RunError
        If it is not there, or its mode lets others in.
    """
    try:
        if path.stat().st_mode & 0o077:
            raise RunError(f"{path} can be read by others; make it yours alone: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise RunError(f"cannot read {path} ({error.strerror}); was it moved?") from error
