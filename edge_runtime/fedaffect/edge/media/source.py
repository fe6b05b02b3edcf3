"""Where sound and pictures come from: files, archives, bytes."""

from __future__ import annotations

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, TypeAlias

from fedaffect.edge.errors import DataError
from fedaffect.edge.sample import Frames, Waveform, ZipMember

Stored: TypeAlias = Path | bytes | ZipMember


def describe(source: object) -> str:
    """Name of a source for error messages."""
    match source:
        case Path():
            return str(source)
        case ZipMember(archive=archive, name=name):
            return f"{archive}!{name}"
        case bytes():
            return f"{len(source)} bytes in memory"
        case Waveform(samples=samples, sample_rate_hz=rate):
            return f"waveform of {len(samples)} samples at {rate} Hz"
        case Frames(images=images):
            return f"frames of shape {images.shape}"
        case _:
            return f"a {type(source).__name__}"


def require_file(path: Path) -> None:
    """Refuse a path where there is no file.

    Raises
    ------
    DataError
    """
    if not path.is_file():
        raise DataError(f"{path} {'is no file' if path.exists() else 'does not exist'}; check the path")


def open_stored(source: Stored) -> BinaryIO:
    """A source's bytes, as a file that has no name: to libraries, names mean formats and protocols.

    Raises
    ------
    DataError
        If the file is missing, empty or may not be read, or the archive member cannot be read.
    """
    if isinstance(source, Path):
        require_file(source)
        try:
            file = open(os.open(source, os.O_RDONLY | getattr(os, "O_BINARY", 0)), "rb")  # noqa: SIM115, PTH123
        except OSError as error:
            raise DataError(f"{source} cannot be read ({error.strerror}); check its permissions") from error
        if os.fstat(file.fileno()).st_size == 0:
            file.close()
            raise DataError(f"{source} is empty; record or download it again")
        return file
    data = source.read() if isinstance(source, ZipMember) else source
    if not data:
        raise DataError(f"{describe(source)} is empty; record or download it again")
    return BytesIO(data)
