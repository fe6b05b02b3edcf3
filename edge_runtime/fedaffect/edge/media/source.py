"""Where sound and pictures come from: files, archives, bytes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TypeAlias

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


def open_stored(source: Stored) -> BytesIO | Path:
    """Something that decoders can open: the path itself, or the bytes in memory.

    Raises
    ------
    DataError
        If the file is missing or empty, or the archive member cannot be read.
    """
    if isinstance(source, Path):
        require_file(source)
        if source.stat().st_size == 0:
            raise DataError(f"{source} is empty; record or download it again")
        return source
    data = source.read() if isinstance(source, ZipMember) else source
    if not data:
        raise DataError(f"{describe(source)} is empty; record or download it again")
    return BytesIO(data)
