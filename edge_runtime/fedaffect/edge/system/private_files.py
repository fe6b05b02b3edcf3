"""Files that only their owner may read: keys, tokens, settings."""

from __future__ import annotations

import os
from pathlib import Path

from fedaffect.edge.errors import RunError


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


def write_private(path: Path, data: bytes, *, replace: bool = False) -> Path:
    """Write a file with mode 0600 that appears whole or not at all.

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
    part = path.with_name(f".{path.name}.part")
    try:
        part.unlink(missing_ok=True)
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
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
